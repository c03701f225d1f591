"""units/nats, copied into /etc as it stands, around a real NATS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import CLIENT, hang, main_pid, restarted_after, target_pid
from tests.units.promises import QUICK, assert_unprivileged, say, was_ended_by_watchdog
from tests.units.table import assert_as_in_readme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNIT = "nats.service"
SETTINGS = "nats/nats-server.conf"
PORT = 4222
TOKEN = "12ab34cd56"  # digits first: the parser of its settings must not take it for a number
HELLO = f'CONNECT {{"auth_token":"{TOKEN}"}}\r\n'


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Machine:
    place = machine("nats", **{"nats-server": "nats-server"})
    token = place.root / "etc/nats/token"
    token.touch(mode=0o600)
    token.write_text(f"{TOKEN}\n")
    return place


@pytest.fixture(scope="module")
def service(place: Machine) -> Iterator[Unit]:
    """NATS, running: the tests leave it so."""
    with place.edited(f"systemd/system/{UNIT}.d/quick.conf", QUICK), place.started(UNIT) as unit:
        unit.start()
        yield unit


def call(place: Machine, subject: str, text: str = "") -> str:
    """The reply to a request, as a client of NATS makes one."""
    request = f"{HELLO}SUB _INBOX.1 1\r\nPUB {subject} _INBOX.1 {len(text)}\r\n{text}\r\n"
    return say(place, PORT, request, "}\r\n" if text or "$JS" in subject else "PONG")


def is_answered(place: Machine) -> bool:
    return "PONG" in say(place, PORT, f"{HELLO}PING\r\n", "PONG")


def test_check_and_verify_find_nothing(place: Machine) -> None:
    """Units that we ship are what people will copy."""
    assert place.check(UNIT) == ""


def test_the_first_client_after_each_start_is_answered(place: Machine) -> None:
    """Ready when clients are accepted, and not when there is a process."""
    with place.started(UNIT) as unit:
        words = (UNIT, "3", str(PORT), f"{HELLO}PING\r\n", "PONG")
        done = place.lab.run("/usr/bin/python3", "-I", CLIENT, "first", *words, check=True)
        assert ["PONG" in reply for reply in json.loads(done.stdout)] == [True] * 3
        unit.wait(ActiveState="inactive", Result="success")
        assert unit.pids() == []


def test_it_has_no_privilege(service: Unit) -> None:
    """A user of systemd's making, which owns the streams and nothing else."""
    assert_unprivileged(service)


def test_the_token_is_natss_alone(place: Machine, service: Unit) -> None:
    """Not in `systemctl show`, not in the wrapper's environment, not in the journal."""
    wrong = HELLO.replace(TOKEN, "12ab34cd57")
    assert "Authorization Violation" in say(place, PORT, f"{wrong}PING\r\n", "'")
    assert is_answered(place)
    assert TOKEN not in place.lab.systemctl("show", UNIT).stdout
    assert TOKEN not in service.journal()
    assert TOKEN.encode() not in Path(f"/proc/{main_pid(service)}/environ").read_bytes()
    assert TOKEN.encode() in Path(f"/proc/{target_pid(service)}/environ").read_bytes()


def test_a_stream_survives_a_restart(place: Machine, service: Unit) -> None:
    """JetStream creates, moves, truncates and removes files: its jail has to allow all of it."""
    stream = '{"name":"ORDERS","subjects":["orders"],"storage":"file"}'
    assert '"name":"ORDERS"' in call(place, "$JS.API.STREAM.CREATE.ORDERS", stream)
    assert '"stream":"ORDERS"' in call(place, "orders", "one order")
    assert place.lab.systemctl("restart", UNIT).returncode == 0, service.journal()
    assert '"messages":1,' in call(place, "$JS.API.STREAM.INFO.ORDERS")
    assert '"success":true' in call(place, "$JS.API.STREAM.DELETE.ORDERS")


def test_reload_reads_the_settings_anew(place: Machine, service: Unit) -> None:
    """And a mistake in them leaves all as it was."""
    text = (place.root / "etc" / SETTINGS).read_text()
    with place.edited(SETTINGS, f"{text}\nmax_payload: 54321\n"):
        assert place.lab.systemctl("reload", UNIT).returncode == 0, service.journal()
        assert '"max_payload":54321' in say(place, PORT, "", "\r\n")
        assert is_answered(place)
    with place.edited(SETTINGS, f"{text}\nno_such_setting: 1\n"):
        place.lab.systemctl("reload", UNIT)
        assert '"max_payload":54321' in say(place, PORT, "", "\r\n")
        assert is_answered(place)
    assert place.lab.systemctl("reload", UNIT).returncode == 0
    assert service.show("ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}


def test_what_an_intruder_could_do(place: Machine, service: Unit) -> None:
    """The numbers of the README's table."""
    left = {"write state dir", "write acme.json", "start a thread", "socket AF_INET"}
    assert_as_in_readme(place, UNIT, "nats", left)


def test_a_hang_is_acted_on(place: Machine, service: Unit) -> None:
    """NATS knows nothing of systemd's watchdog."""
    restarted_after(service, hang(service))
    assert was_ended_by_watchdog(service), service.journal()
    assert is_answered(place)
