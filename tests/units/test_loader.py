"""units/minio around a program that needs no loader and one that does: what ld.so leaves open."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from notifywrap.drill.dropped import program
from notifywrap.testing.lab import unavailable
from tests.conftest import REPOSITORY
from tests.units.machine import Machine
from tests.units.test_minio import SHIPPED, UNIT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

FILE = f"systemd/system/{UNIT}"
ROW = "ld.so on a dropped file"
LOADER = "/lib64/ld-linux-x86-64.so.2"
DROPPED = "/var/lib/minio/dropped"


@pytest.fixture(scope="module")
def place() -> Iterator[Machine]:
    """With its secrets, and no MinIO yet."""
    reason = unavailable()
    if reason is not None:
        pytest.skip(f"no systemd can be booted here: {reason}")
    place = Machine("minio", {})
    if not (place.root / LOADER[1:]).exists():
        pytest.skip("another machine's loader")
    (place.root / "etc/minio").mkdir()
    for name in ("root-user", "root-password"):
        (place.root / "etc/minio" / name).write_text("a secret\n")
    yield place
    place.lab.down()


def put(place: Machine, content: bytes) -> None:
    """What /usr/local/bin/minio is."""
    file = place.root / "usr/local/bin/minio"
    file.unlink(missing_ok=True)
    file.write_bytes(content)
    file.chmod(0o755)


def run_by_loader(place: Machine, path: str) -> str:
    """What an intruder in a MinIO that needs a loader gets: here a shell, in its place."""
    shipped = (REPOSITORY / "units/minio" / FILE).read_text()
    command = f'/usr/local/bin/minio -c "exec {LOADER} {path} --version"'
    text = shipped.replace(SHIPPED, command).replace("Restart=always", "Restart=no")
    with place.edited(FILE, text), place.started(UNIT) as unit:
        unit.start(check=False)
        return unit.journal("--output=cat").rpartition("whatever its loader can read)")[2]


@pytest.mark.parametrize("needs_loader", [False, True], ids=["static", "dynamic"])
def test_a_dropped_file_is_not_run_by_the_loader_either(place: Machine, needs_loader: bool):
    """One of the drill's rows beside the 66. A jail has to let a program's loader run; because of
    NoExecPaths= it maps no dropped file as code."""
    put(place, (place.root / "usr/bin/true").read_bytes() if needs_loader else program())
    done = place.lab.run("notifywrap", "drill", "--json", f"/etc/{FILE}", timeout_s=200, check=True)
    told = json.loads(done.stdout)
    (row,) = (each for each in told["attempts"] if each["name"] == ROW)
    assert (row["allowed"], row["counted"]) == (False, False)
    # Without a loader of its own the target may not even execute it.
    assert row["reason"] == ("exit status 127" if needs_loader else "EACCES")
    assert any("its loader" in remark for remark in told["remarks"]) is needs_loader


def test_what_the_loader_runs_is_in_usr_lib(place: Machine):
    """The rest of what a program that needs one leaves open, as units/README.md says."""
    put(place, (place.root / "usr/bin/dash").read_bytes())
    place.lab.run("install", "-d", "-ominio-user", "/var/lib/minio", check=True)
    shutil.copy("/usr/bin/true", place.root / DROPPED[1:])
    assert "release version" in run_by_loader(place, "/usr/lib/x86_64-linux-gnu/libc.so.6")
    assert "Permission denied" in run_by_loader(place, "/usr/bin/python3")
    assert "failed to map segment" in run_by_loader(place, DROPPED)
