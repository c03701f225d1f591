"""units/minio, copied into /etc as it stands.

MinIO itself is not to be had as a package: the juicefs gateway, MinIO's server code, stands for it.
So what ExecStart= runs behind `--` is replaced, and nothing else of the unit.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY
from tests.system.daemons import hang, main_pid, restarted_after, target_pid
from tests.units.table import assert_as_in_readme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNIT = "minio.service"
WATCHDOG_S = 15.0
END_S = 7.0  # TimeoutAbortSec= and RestartSec=: one that hangs like this does not react to ABRT
USER, PASSWORD = "root-of-the-lab", "pass-word-of-the-lab"
VOLUME = "sqlite3:///var/lib/minio/meta.db"
SHIPPED = "/usr/local/bin/minio server $MINIO_OPTS $MINIO_VOLUMES"
GATEWAY = (
    f"/usr/local/bin/minio gateway --no-usage-report --no-banner --cache-dir=/var/lib/minio/cache"
    f" {VOLUME} :9000"
)
AS_OWNER = ("/usr/bin/setpriv", "--reuid=minio-user", "--regid=minio-user", "--clear-groups",
            "/usr/bin/env", "HOME=/tmp")  # fmt: skip
LIVE = "http://127.0.0.1:9000/minio/health/live"
S3 = REPOSITORY / "tests/units/s3.py"


def prepare(place: Machine) -> None:
    """The two secrets, and a volume that the gateway keeps its objects in."""
    secrets = place.root / "etc/minio"
    if secrets.exists():
        return
    secrets.mkdir(mode=0o700)
    for name, text in (("root-user", USER), ("root-password", PASSWORD)):
        (secrets / name).write_text(f"{text}\n")
        (secrets / name).chmod(0o600)
    state = "/var/lib/minio"
    place.lab.run("install", "-d", "-m750", "-ominio-user", "-gminio-user", state, check=True)
    words = ("--storage=file", f"--bucket={state}/objects/", VOLUME, "volume")
    place.lab.run(*AS_OWNER, "/usr/local/bin/minio", "format", *words, check=True)


@pytest.fixture
def installed(machine: Callable[..., Machine]) -> Machine:
    """Its machine, as somebody would use it."""
    place = machine("minio", minio="juicefs")
    prepare(place)
    return place


@pytest.fixture
def place(installed: Machine) -> Iterator[Machine]:
    """The same, with the gateway's command line in the unit."""
    shipped = (REPOSITORY / "units/minio/systemd/system" / UNIT).read_text()
    assert shipped.count(SHIPPED) == 1
    with installed.edited(f"systemd/system/{UNIT}", shipped.replace(SHIPPED, GATEWAY)):
        yield installed


@pytest.fixture
def service(place: Machine) -> Iterator[Unit]:
    """MinIO's code, not yet started."""
    with place.started(UNIT) as unit:
        yield unit


def test_check_and_verify_find_nothing(installed: Machine) -> None:
    """Units that we ship are what people will copy: this one as it is shipped."""
    assert installed.check(UNIT) == ""


def test_an_s3_client_can_store_and_fetch(place: Machine, service: Unit) -> None:
    """Signed with what came as credentials, right after the start; and with nothing else."""
    service.start()
    said = place.lab.run(sys.executable, S3, USER, PASSWORD, check=True).stdout
    assert said.split() == ["put", "listed", "same"]
    assert "SignatureDoesNotMatch" in place.lab.run(sys.executable, S3, USER, "other").stdout
    assert place.ask("get", "http://[::1]:9000/minio/health/live")["status"] == 200


def test_it_has_no_privilege(place: Machine, service: Unit) -> None:
    """Neither of them: MinIO's own unit has CAP_SYS_ADMIN and CAP_DAC_OVERRIDE."""
    service.start()
    for pid in (main_pid(service), target_pid(service)):
        status = Path(f"/proc/{pid}/status").read_text()
        assert not re.search(r"^Uid:.*\b0\b", status, re.M)
        assert re.search(r"^CapBnd:\s+0+$", status, re.M)
        assert "Seccomp:\t2" in status


def test_the_password_is_in_the_targets_environment_alone(place: Machine, service: Unit) -> None:
    """Not in `systemctl show`, which everybody may ask, nor in the wrapper or the journal."""
    service.start()
    environ = Path(f"/proc/{target_pid(service)}/environ").read_bytes().split(b"\0")
    assert f"MINIO_ROOT_PASSWORD={PASSWORD}".encode() in environ
    assert f"MINIO_ROOT_USER={USER}".encode() in environ
    wrapper = Path(f"/proc/{main_pid(service)}")
    seen = (wrapper / "environ").read_bytes() + (wrapper / "cmdline").read_bytes()
    shown = place.lab.systemctl("show", UNIT).stdout + service.journal()
    for secret in (USER, PASSWORD):
        assert secret.encode() not in seen
        assert secret not in shown


def test_without_a_password_nothing_is_started(place: Machine, service: Unit) -> None:
    """MinIO would take minioadmin:minioadmin."""
    with place.edited("minio/root-password", ""):
        assert service.start(check=False).returncode != 0
    assert "Assertion failed" in service.journal()
    assert service.pids() == []


def test_a_stop_is_clean(place: Machine, service: Unit) -> None:
    """One TERM, and it closes its session with the metadata store."""
    service.start()
    service.stop()
    assert service.show("Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}
    assert "close session" in service.journal()


@pytest.mark.timeout(120)
def test_a_hang_is_acted_on_within_twice_the_watchdogs_time(place: Machine, service: Unit) -> None:
    """MinIO never pings by itself: a hang would go unnoticed."""
    service.start()
    since = hang(service)
    service.wait(NRestarts="1", timeout_s=3 * WATCHDOG_S)  # longer than restarted_after() waits
    assert restarted_after(service, since) <= 2 * WATCHDOG_S + END_S, service.journal()
    assert "Failed with result 'watchdog'" in service.journal()
    assert place.ask("get", LIVE)["status"] == 200


def test_what_an_intruder_could_do(place: Machine, service: Unit) -> None:
    """The numbers of the README's table."""
    service.start()
    left = {"read /etc/passwd", "write state dir", "write acme.json", "start a thread"}
    left |= {"socket AF_INET", "socket AF_NETLINK", "connect backend"}
    assert_as_in_readme(place, UNIT, "minio", left)
