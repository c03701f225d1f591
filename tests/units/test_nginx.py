"""units/nginx, copied into /etc as it stands, around Debian's nginx."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import program, until
from tests.units.served import hang_and_recover, restarts
from tests.units.table import assert_as_in_readme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNIT = "nginx.service"
URL = "http://shop.test/"
LARGE = 200_000  # bytes: two seconds of /slow
SITE = """\
server {
    listen 80;
    server_name shop.test;
    client_max_body_size 8m;
    location / { return 200 "TEXT"; }
    location = /upload { proxy_pass http://127.0.0.1/taken; proxy_set_header Host $host; }
    location = /taken { return 200 "taken"; }
    location = /slow { limit_rate 100k; alias /var/www/large; }
}
"""


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Iterator[Machine]:
    """With a site where Debian's sites are."""
    program("nginx")
    place = machine("nginx")
    (place.root / "var/www/large").write_bytes(b"x" * LARGE)
    with place.edited("nginx/conf.d/shop.conf", SITE.replace("TEXT", "first")):
        yield place


@pytest.fixture(scope="module")
def service(place: Machine) -> Iterator[Unit]:
    """nginx, started once for these tests."""
    with place.started(UNIT) as unit:
        unit.start()
        yield unit


def test_check_and_verify_find_nothing(place: Machine) -> None:
    """Units that we ship are what people will copy."""
    assert place.check(UNIT) == ""


def test_it_serves_its_site_when_systemctl_start_returns(place: Machine) -> None:
    """Type=notify for a daemon that knows nothing of it."""
    with place.started(UNIT):
        assert place.ask("first", UNIT, 3, URL) == {"200": 3}


def test_no_process_is_root_or_could_become_it(service: Unit) -> None:
    """Debian's unit has a root master; here one capability is all there is, in all of them."""
    assert len(service.pids()) >= 3, "the wrapper, a master and a worker"
    for pid in service.pids():
        status = Path(f"/proc/{pid}/status").read_text()
        assert not re.search(r"^[UG]id:.*\b0\b", status, re.M)
        assert re.findall(r"^CapBnd:\s+(\w+)$", status, re.M) == [f"{1 << 10:016x}"]
        assert "Seccomp:\t2" in status
        assert "NoNewPrivs:\t1" in status


def test_what_the_probe_asks_for_is_on_no_site(place: Machine, service: Unit) -> None:
    """/ping belongs to sites, and the probe's is for this machine alone."""
    assert place.ask("get", f"{URL}ping")["body"] == "first"
    place.lab.run("ip", "address", "add", "10.9.8.7/32", "dev", "lo")
    probed = (
        "curl",
        "-s",
        "-H",
        "Host: notifywrap.invalid",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
    )
    assert place.lab.run(*probed, "http://127.0.0.1/ping").stdout == "200"
    assert place.lab.run(*probed, "http://10.9.8.7/ping").stdout == "404"


def test_a_large_upload_has_a_place(place: Machine, service: Unit) -> None:
    """Package paths for temporary files are root's: a wrong one shows with the first upload."""
    upload = ("sh", "-c", "head -c 4000000 /dev/zero | curl -s --data-binary @- -H Host:shop.test"
              " http://127.0.0.1/upload")  # fmt: skip
    assert place.lab.run(*upload).stdout == "taken", service.journal()


def test_reload_takes_the_new_site_and_new_log_files(place: Machine, service: Unit) -> None:
    """With the master's sandbox a reload is where a non-root nginx would fail."""
    log = place.root / "var/log/nginx/access.log"
    log.rename(log.with_suffix(".1"))
    with place.edited("nginx/conf.d/shop.conf", SITE.replace("TEXT", "second")):
        with restarts(service, 0):
            assert place.lab.systemctl("reload", UNIT).returncode == 0, service.journal()
            until(lambda: place.ask("get", URL)["body"] == "second")
        until(lambda: log.exists() and log.read_text())
    assert place.lab.systemctl("reload", UNIT).returncode == 0
    until(lambda: place.ask("get", URL)["body"] == "first")


def test_a_hang_is_acted_on(place: Machine, service: Unit) -> None:
    """The promise of WatchdogSec=, in the whole sandbox."""
    hang_and_recover(service, watchdog_s=5.0, abort_s=3.0)
    assert place.ask("get", URL)["status"] == 200


def test_stopping_lets_a_request_end(place: Machine, service: Unit) -> None:
    """TERM would cut it off; the unit makes QUIT of it."""
    service.stop()
    assert service.show("Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}
    assert service.pids() == []
    service.start()
    asked = ("curl", "-sN", "-H", "Host: shop.test", "http://127.0.0.1/slow")
    client = place.lab.popen(*asked, stdout=subprocess.PIPE, bufsize=0)
    assert client.stdout is not None
    first = client.stdout.read(1)
    service.stop()
    rest = client.communicate(timeout=20)[0]
    assert len(first + rest) == LARGE
    service.start()


def test_what_an_intruder_could_do(place: Machine, service: Unit) -> None:
    """The numbers of the README's table."""
    left = {"read /etc/passwd", "fork a process", "start a thread", "socket AF_INET"}
    left |= {"connect backend", "connect other local port"}
    assert_as_in_readme(place, UNIT, "nginx", left)
