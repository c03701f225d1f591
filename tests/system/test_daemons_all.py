"""What holds for every daemon: real servers, each with its own way to listen, accept and log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import (
    DAEMONS,
    Daemon,
    burst,
    first_replies,
    hang,
    restarted_after,
    stays_up,
    stop_workers,
    wrap,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Unit

    UnitMaker = Callable[..., Unit]

pytestmark = pytest.mark.systemd

WATCHDOG_S = 1.0
LIMIT_S = WATCHDOG_S + 0.5
ALARMING = re.compile(r"error|warn|fatal|panic|alert|emerg|crit|reset|broken", re.IGNORECASE)


@pytest.fixture
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Daemon:
    return DAEMONS[request.param](tmp_path)


def some(*quick: str) -> pytest.MarkDecorator:
    """Each daemon, those that are not *quick* as slow ones: together they take their time."""
    params = [
        pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in DAEMONS
    ]
    return pytest.mark.parametrize("daemon", params, indirect=True)


@some("nginx", "redis", "prometheus", "nats")
def test_the_first_request_after_start_is_served(unit: UnitMaker, daemon: Daemon) -> None:
    """What waits for the unit (After=) talks to it at once: an early READY is an outage."""
    one = unit(**wrap(daemon, "--probe", daemon.probes[0]), start=False)
    replies = first_replies(one, daemon, times=3)
    assert [daemon.answer in reply for reply in replies] == [True] * 3, replies


@some("gateway", "nginx", "apache", "redis")
def test_without_options_start_waits_for_the_sockets_and_stop_is_clean(
    unit: UnitMaker, daemon: Daemon
) -> None:
    """Zero-config is the main use: nobody should have to know the daemon to wrap it.

    Every client is answered. With what is more than can be guessed: Traefik says 404 while its
    routes are not loaded, Prometheus 503 while it reads its log. Who minds names the page to probe.
    """
    one = unit(**wrap(daemon))
    status = one.show("StatusText")["StatusText"]
    assert status.startswith("ready after 0."), status
    assert f":{daemon.port}" in status, status
    answered = daemon._replace(answer="HTTP/1.") if daemon.request.startswith("GET ") else daemon
    assert burst(one, answered, seconds=0.1, clients=1)["failed"] == 0
    one.stop()
    assert one.show("Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}
    assert "the target exited with status 0" in one.journal()


def test_one_that_serves_every_address_is_named_by_its_port(
    unit: UnitMaker, tmp_path: Path
) -> None:
    """`tcp:[::1]:80` in STATUS would send people looking for an IPv4 problem that there is none."""
    daemon = DAEMONS["caddy"](tmp_path)
    status = unit(**wrap(daemon)).show("StatusText")["StatusText"]
    assert f"watching tcp:{daemon.port} (guessed" in status, status


@some("traefik", "redis")
def test_a_hung_one_is_restarted_without_options(unit: UnitMaker, daemon: Daemon) -> None:
    """It runs, and its sockets complete handshakes: only an accept that stays out tells."""
    one = unit(**wrap(daemon))
    assert restarted_after(one, hang(one)) <= LIMIT_S, one.journal()
    assert re.search(r"unhealthy: (tcp|unix):.* not accepted", one.journal())
    assert "Failed with result 'watchdog'" in one.journal()


@pytest.mark.slow
@pytest.mark.parametrize("daemon", ["nginx", "apache"], indirect=True)
def test_workers_that_hang_are_found_though_their_master_works(
    unit: UnitMaker, daemon: Daemon
) -> None:
    """The process that systemd sees is well, and would happily go on pinging."""
    one = unit(**wrap(daemon))
    assert restarted_after(one, stop_workers(one)) <= LIMIT_S, one.journal()
    assert re.search(r"unhealthy: tcp:.* not accepted", one.journal())
    assert "Failed with result 'watchdog'" in one.journal()


@some()
def test_a_hung_one_is_restarted_with_the_probe_to_recommend(
    unit: UnitMaker, daemon: Daemon
) -> None:
    """WatchdogSec= is the promise, whatever the kind of probe."""
    found_hung(unit, daemon, daemon.probes[0])


@some()
def test_a_hung_one_is_restarted_with_other_probes(unit: UnitMaker, daemon: Daemon) -> None:
    """The cheap ones as well: no request is needed to see that nobody accepts."""
    for probe in daemon.probes[1:]:
        found_hung(unit, daemon, probe)


def found_hung(unit: UnitMaker, daemon: Daemon, probe: str) -> None:
    one = unit(**wrap(daemon, "--probe", probe))
    assert restarted_after(one, hang(one)) <= LIMIT_S, one.journal()
    assert f"unhealthy: {probe}" in one.journal()
    assert "Failed with result 'watchdog'" in one.journal()
    one.stop()


@some()
def test_it_is_left_alone_while_idle_and_under_load(unit: UnitMaker, daemon: Daemon) -> None:
    """A watchdog that kills healthy services is worse than none, and is soon turned off."""
    one = unit(**wrap(daemon, *each("--probe", daemon.probes)))
    ready = one.show("StatusText")
    assert stays_up(one, 5 * WATCHDOG_S), one.journal()
    count = burst(one, daemon, seconds=3.0, clients=100)
    assert count["answered"] > 100, count
    assert stays_up(one, WATCHDOG_S), one.journal()
    assert one.show("StatusText") == ready
    assert "unhealthy" not in one.journal(), one.journal()
    assert "not verified" not in one.journal(), one.journal()


@some()
def test_its_log_shows_nothing_of_the_accept_checks(
    unit: UnitMaker, daemon: Daemon, tmp_path: Path
) -> None:
    """A line per probe would bury what matters, and page somebody for an error that is none."""
    said = listen_to(unit, daemon, tmp_path, "--ready", "alive")
    checked = listen_to(unit, daemon, tmp_path, "--period", "50ms", "--timeout", "100ms")
    assert [line for line in checked if line not in said and ALARMING.search(line)] == []
    access = tmp_path / "access.log"
    assert not access.exists() or access.read_text() == ""


def listen_to(unit: UnitMaker, daemon: Daemon, home: Path, *options: str) -> list[str]:
    """Every line that it says in two seconds, from start to stop, without numbers and times."""
    for log in home.glob("*.log"):
        log.unlink()
    one = unit(**wrap(daemon, *options))
    assert stays_up(one, 2.0), one.journal()
    one.stop()
    said = one.journal() + "".join(log.read_text() for log in home.glob("*.log"))
    ours = ("notifywrap: ", f"{one.name}: ")
    lines = [line for line in said.splitlines() if not line.startswith(ours)]
    return [re.sub(r"0x[0-9a-f]+|\d+", "#", line).replace(one.name, "") for line in lines]


def each(option: str, values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in (option, value)]
