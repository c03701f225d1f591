"""units/notifywrap@, copied into /etc as it stands, around a daemon that it has never heard of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import hang, program, restarted_after
from tests.units.promises import QUICK, assert_unprivileged, say, was_ended_by_watchdog
from tests.units.table import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNIT = "notifywrap@cache.service"
ROW = ROWS["notifywrap@"]
SETTINGS = "notifywrap/cache.conf"
PORT = 6390
# The two lines that units/README.md shows.
MINIMAL = f"""\
COMMAND=/usr/bin/redis-server --port {PORT} --dir .
NOTIFYWRAP_PROBE=tcp:127.0.0.1:{PORT}
"""
JAILED = f"{MINIMAL}NOTIFYWRAP_JAIL=yes\n"


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Iterator[Machine]:
    program("redis-server")
    place = machine("notifywrap@")
    with place.edited(SETTINGS, MINIMAL):
        yield place


@pytest.fixture(scope="module")
def service(place: Machine) -> Iterator[Unit]:
    """Redis, running: the tests leave it so."""
    with place.edited(f"systemd/system/{UNIT}.d/quick.conf", QUICK), place.started(UNIT) as unit:
        unit.start()
        yield unit


def ask(place: Machine, words: str = "PING") -> str:
    return say(place, PORT, f"{words}\r\n", "\r\n").strip()


def test_check_and_verify_find_nothing(place: Machine) -> None:
    """Of the template, and of what two lines make of it."""
    assert place.check("notifywrap@.service") == ""
    assert place.check(UNIT) == ""


def test_it_serves_right_after_the_start_and_stops_cleanly(place: Machine) -> None:
    """Redis keeps what it has at a stop: TERM reaches it, and its state directory is there."""
    with place.started(UNIT) as unit:
        unit.start()
        assert ask(place, "SET key value") == "+OK"
        unit.stop()
        unit.wait(ActiveState="inactive", Result="success")
        assert unit.pids() == []
        unit.start()
        assert "value" in say(place, PORT, "GET key\r\n", "value\r\n")


def test_it_has_no_privilege(service: Unit) -> None:
    """A user of systemd's making, whatever the daemon is."""
    assert_unprivileged(service)


def test_a_reload_that_would_end_it_fails_instead(place: Machine, service: Unit) -> None:
    """Redis has no handler for HUP: it is not sent, and whoever asked is told."""
    assert place.lab.systemctl("reload", UNIT).returncode != 0
    assert "has no handler for HUP" in service.journal()
    assert ask(place) == "+PONG"
    assert service.show("NRestarts") == {"NRestarts": "0"}


@pytest.mark.parametrize(
    ("settings", "number"), [(MINIMAL, ROW.drill), (JAILED, 9)], ids=["", "jail"]
)
def test_what_an_intruder_could_do(
    place: Machine,
    service: Unit,
    settings: str,
    number: int,
) -> None:
    """The numbers of the README's table: for any program, without a jail and with the usual one."""
    with place.edited(SETTINGS, settings):
        left = place.drill(UNIT)
        assert len(left) == number, left
    assert place.exposure(UNIT) == ROW.exposure


def test_a_jailed_daemon_starts_by_one_line_more(place: Machine, service: Unit) -> None:
    """The template's system call filter has to allow what a jail is built with."""
    with place.edited(SETTINGS, JAILED):
        assert place.lab.systemctl("restart", UNIT).returncode == 0, service.journal()
        assert ask(place) == "+PONG"
        assert "nothing is executed but /usr/bin/redis-server" in service.journal()
        assert "not enforced" not in service.journal()
    assert place.lab.systemctl("restart", UNIT).returncode == 0


def test_a_hang_is_acted_on(place: Machine, service: Unit) -> None:
    """The kernel goes on accepting connections for it, and is not believed."""
    restarted_after(service, hang(service))
    assert was_ended_by_watchdog(service), service.journal()
    assert ask(place) == "+PONG"
