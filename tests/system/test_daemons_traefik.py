"""Traefik, the main use: a daemon that speaks sd_notify itself, and says READY=1 too early."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import (
    Daemon,
    burst,
    first_replies,
    hang,
    restarted_after,
    set_route,
    stays_up,
    stop,
    target_pid,
    traefik,
    until,
    wrap,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Unit

    UnitMaker = Callable[..., Unit]

pytestmark = pytest.mark.systemd

WATCHDOG_S = 1.0
STARTS = 20


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return traefik(tmp_path)


@pytest.fixture
def routed(daemon: Daemon) -> tuple[str, str]:
    """The options to name the route that matters."""
    return "--probe", daemon.probes[0]


def statuses(replies: list[str]) -> list[str]:
    return [" ".join(reply.split()[1:2]) for reply in replies]


@pytest.mark.slow
def test_the_first_request_after_each_of_20_starts_is_routed(
    unit: UnitMaker, daemon: Daemon, routed: tuple[str, str]
) -> None:
    """READY=1 means that clients are served, not that a process exists: no 404 window."""
    one = unit(**wrap(daemon, *routed), start=False)
    assert statuses(first_replies(one, daemon, STARTS)) == ["200"] * STARTS


@pytest.mark.slow
def test_without_the_wrapper_first_requests_are_lost(unit: UnitMaker, daemon: Daemon) -> None:
    """The control: Traefik's own READY=1 comes before its routes, so the test above can fail."""
    native = wrap(daemon) | {"ExecStart": daemon.command}
    one = unit(**native, start=False)
    assert "404" in statuses(first_replies(one, daemon, STARTS))


def test_start_stop_and_status_are_those_of_a_good_service(
    unit: UnitMaker, daemon: Daemon, routed: tuple[str, str]
) -> None:
    """`systemctl status` is where a sysadmin looks first."""
    one = unit(**wrap(daemon, *routed))
    status = one.show("StatusText")["StatusText"]
    assert re.fullmatch(rf"ready after 0\.\d+ s, watching {daemon.probes[0]}", status)
    shown = one.lab.systemctl("status", one.name).stdout
    assert f'Status: "{status}"' in shown
    one.stop()
    assert one.show("Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}


def test_it_does_not_see_systemds_socket(unit: UnitMaker, daemon: Daemon) -> None:
    """Its own READY=1 would end the start too early, its own pings would hide a dead route."""
    one = unit(**wrap(daemon, "--target-notify", "ignore"))
    environ = Path(f"/proc/{target_pid(one)}/environ").read_bytes().split(b"\0")
    names = {entry.partition(b"=")[0] for entry in environ if entry}
    assert not names & {b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID"}
    assert b"INVOCATION_ID" in names


@pytest.mark.slow
def test_a_hung_one_is_restarted_when_a_route_is_watched(
    unit: UnitMaker, daemon: Daemon, routed: tuple[str, str]
) -> None:
    """WatchdogSec= is the promise: with 1 s, it serves again about a second later."""
    one = unit(**wrap(daemon, *routed))
    assert restarted_after(one, hang(one)) <= WATCHDOG_S + 0.5, one.journal()
    assert "Failed with result 'watchdog'" in one.journal()
    assert burst(one, daemon, seconds=0.1, clients=1)["failed"] == 0


@pytest.mark.slow
def test_the_stack_trace_of_a_stopped_one_is_its_own(
    unit: UnitMaker, daemon: Daemon, routed: tuple[str, str]
) -> None:
    """SIGABRT has to reach the one that hangs, or nobody learns why it did."""
    patient = {"KillMode": "mixed", "TimeoutAbortSec": "10s"}
    one = unit(**wrap(daemon, *routed) | patient)
    assert restarted_after(one, stop(one)) <= WATCHDOG_S + 0.5, one.journal()
    assert "SIGABRT: abort" in one.journal()
    assert "goroutine 1" in one.journal()


@pytest.mark.parametrize(
    "signum",
    [
        pytest.param(signal.SIGKILL, id="KILL"),
        pytest.param(signal.SIGSEGV, id="SEGV", marks=pytest.mark.slow),
    ],
)
def test_a_crashed_one_is_restarted_at_once(
    unit: UnitMaker, daemon: Daemon, routed: tuple[str, str], signum: signal.Signals
) -> None:
    """A wrapper that outlives its target, or waits for the watchdog to notice, adds downtime."""
    one = unit(**wrap(daemon, *routed))
    crashed = time.monotonic()
    os.kill(target_pid(one), signum)
    assert restarted_after(one, crashed) <= 0.5, one.journal()
    assert "watchdog" not in one.journal()
    assert burst(one, daemon, seconds=0.1, clients=1)["failed"] == 0


def test_usr1_reaches_it(unit: UnitMaker, daemon: Daemon, tmp_path: Path) -> None:
    """Log rotation as its manual has it: rename the file, `systemctl kill -s USR1`."""
    one = unit(**wrap(daemon))
    log = tmp_path / "access.log"
    log.rename(tmp_path / "access.log.1")
    one.kill("USR1", "--kill-who=main")
    until(log.exists)
    assert stays_up(one, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "reason"),
    [
        pytest.param("", "HTTP 404", id="the route is gone"),
        pytest.param("dead", "HTTP 502", id="its server is gone", marks=pytest.mark.slow),
    ],
)
def test_a_broken_route_is_named_and_then_acted_on(
    unit: UnitMaker,
    daemon: Daemon,
    routed: tuple[str, str],
    tmp_path: Path,
    service: str,
    reason: str,
) -> None:
    """Traefik itself is well and would go on pinging; its clients get nothing."""
    one = unit(**wrap(daemon, *routed))
    set_route(tmp_path, service)
    until(lambda: reason in status_of(one))
    until(lambda: status_of(one).startswith("starting: "))
    story = one.journal()
    assert re.search(rf"unhealthy: .*/route.*{reason}.*systemd acts in 0\.\d s", story), story
    assert "Failed with result 'watchdog'" in story
    until(lambda: reason in status_of(one))
    assert one.show("ActiveState")["ActiveState"] == "activating"
    set_route(tmp_path)
    one.wait(ActiveState="active")


def status_of(unit: Unit) -> str:
    return unit.show("StatusText")["StatusText"]


@pytest.mark.slow
def test_it_is_left_alone_without_options(unit: UnitMaker, daemon: Daemon) -> None:
    """The main use of all, over many periods of the watchdog."""
    one = unit(**wrap(daemon))
    assert stays_up(one, 10 * WATCHDOG_S), one.journal()
