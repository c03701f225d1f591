"""What notifywrap costs inside a shipped unit: counts and sizes, so that any machine agrees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import main_pid, until
from tests.units.every import EVERY, boot
from tests.units.test_template import MINIMAL, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

ROUNDS = 10
PER_ROUND = 3
# 1.35 is the promise for http and tcp alone; a jail's ctypes come to it in these units.
MOST_RSS = 1.4
LIMIT_S = 20.0
# The same interpreter, started in the same way: of a virtual environment, as a user that systemd
# has made up, about whom Python's `site` asks.
BARE = """\
[Service]
DynamicUser=yes
RuntimeDirectory=bare
ExecStart=/opt/notifywrap/bin/python -c \\
    "import os; os.mkfifo('/run/bare/here'); os.open('/run/bare/here', 0)"
"""
# Nobody should wait for rounds that come every few seconds. systemd's time stays as it is.
OFTEN = "[Service]\nEnvironment=NOTIFYWRAP_PERIOD=50ms\n"
# Neither netlink nor more of /proc than processes: what else there is to ask for a socket's state.
BLIND = "ProcSubset=pid\nRestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX AF_INET\n"
CASES = {
    "traefik": "",  # it is so, and asks by http
    "notifywrap@": BLIND,  # tcp: asks
}


@pytest.fixture(scope="module", params=CASES)
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def place(folder: str) -> Iterator[Machine]:
    place = boot(folder)
    if folder == "notifywrap@":
        (place.root / "etc" / SETTINGS).write_text(MINIMAL)
    with place.edited(f"systemd/system/{EVERY[folder].unit}.d/x.conf", OFTEN + CASES[folder]):
        yield place
    place.lab.down()


@pytest.fixture(scope="module")
def service(place: Machine, folder: str) -> Iterator[Unit]:
    """Running, and past what comes with readiness: imports, a last STATUS."""
    with place.started(EVERY[folder].unit) as unit:
        unit.start()
        wait_for_rounds(place, ROUNDS)
        yield unit
        assert unit.show("NRestarts") == {"NRestarts": "0"}


def rounds(place: Machine) -> int:
    """How many connections were taken in there: one a round, as nobody else is a client."""
    lines = Path(f"/proc/{place.lab.pid}/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(dict(zip(names, values, strict=True))["PassiveOpens"])


def wait_for_rounds(place: Machine, number: int) -> None:
    enough = rounds(place) + number
    until(lambda: rounds(place) >= enough, LIMIT_S)


def status(pid: int, key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def test_a_live_round_takes_three_wake_ups_at_most(place: Machine, service: Unit):
    """A sandbox closes ways that are cheap: what stands for them must not be paid each time."""
    pid = main_pid(service)
    woken, begun = status(pid, "voluntary_ctxt_switches"), rounds(place)
    wait_for_rounds(place, ROUNDS)
    woken, begun = status(pid, "voluntary_ctxt_switches") - woken, rounds(place) - begun
    assert woken <= PER_ROUND * (begun + 1)


def test_it_is_one_thread(service: Unit):
    """TasksMax= of the unit is the daemon's."""
    assert status(main_pid(service), "Threads") == 1


def test_it_is_little_more_than_an_interpreter(place: Machine, service: Unit):
    """Two hundred of these on one machine."""
    place.lab.install("bare.service", BARE)
    with place.started("bare.service") as bare:
        bare.start()
        until((place.root / "run/bare/here").exists)
        (pid,) = bare.pids()
        assert status(main_pid(service), "VmRSS") <= MOST_RSS * status(pid, "VmRSS")
