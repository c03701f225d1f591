"""WATCHDOG=1 is evidence: a target that stops working is acted on within WatchdogSec."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hosts import KILL_MODES, SERVER, Host, Outcome, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# From a target that stops to the next life: WatchdogSec, and this for the rest. In it are systemd's
# RestartSec= of 100 ms, the deaths of target and wrapper, and the start of the new wrapper.
REST_S = 0.5


class Scene(NamedTuple):
    """A server, and the options that name it to the wrapper."""

    options: list[str]
    target: list[str]


@pytest.fixture
def scenes(tmp_path: Path) -> dict[str, Scene]:
    """Every way to look at a server; a kernel completes connections for a stopped one as well."""
    http, tcp, listen, nothing = (free_port() for _ in range(4))
    path = str(tmp_path / "socket")
    return {
        "http": Scene(["--probe", f"http://127.0.0.1:{http}/"], ["--speaks", "http", http]),
        "tcp": Scene(["--probe", f"tcp:{tcp}"], [tcp]),
        "listen": Scene(["--ready", f"listen:{listen}"], [listen]),
        "unix": Scene(["--probe", f"unix:{path}"], [path]),
        "zero-config": Scene([], [nothing]),
    }


@pytest.mark.parametrize("kill_mode", KILL_MODES)
@pytest.mark.parametrize(
    "watchdog_s", [1.0, pytest.param(3.0, marks=pytest.mark.slow)], ids=["1s", "3s"]
)
def test_stopped_target_is_restarted_within_watchdog_sec(
    make_host: Callable[[], Host], scenes: dict[str, Scene], watchdog_s: float, kill_mode: str
) -> None:
    """SIGSTOP is the hang that no server can notice or answer for: the promise in one line.

    For every kind of probe, side by side. From the moment before SIGSTOP to ExecMainStartTimestamp
    of the next life.
    """
    hosts = {kind: make_host() for kind in scenes}
    for kind, host in hosts.items():
        options, target = scenes[kind]
        mode = {"watchdog_s": watchdog_s, "kill_mode": kill_mode, "restart": "always"}
        assert host.start(options, [*SERVER, *target], **mode).ok
    frozen_at = {kind: host.freeze_target() for kind, host in hosts.items()}
    lives = {kind: host.wait_restart() for kind, host in hosts.items()}
    took_s = {kind: round(lives[kind].at - frozen_at[kind], 3) for kind in hosts}
    print(f"WatchdogSec={watchdog_s:g} KillMode={kill_mode}: next life after {took_s}")
    assert {kind: life.result for kind, life in lives.items()} == dict.fromkeys(hosts, "watchdog")
    assert all(length_s < watchdog_s + REST_S for length_s in took_s.values()), took_s
    for host in hosts.values():
        host.wait_active()


def test_server_that_lives_on_but_accepts_no_more_is_ended(
    make_host: Callable[[], Host], scenes: dict[str, Scene]
) -> None:
    """A deadlock in the accept loop: the process is there, connections still complete.

    That nobody answers in time is weaker evidence than a stopped process: where the machine itself
    is short of CPU, it may take another WatchdogSec.
    """
    hosts = {kind: make_host() for kind in scenes}
    for kind, host in hosts.items():
        options, target = scenes[kind]
        host.start(options, [*SERVER, "--fault", "deaf", *target], watchdog_s=1.0)
    deaf_at = {kind: host.signal_target("USR1") for kind, host in hosts.items()}
    ends = {kind: host.wait_end() for kind, host in hosts.items()}
    took_s = {kind: round(host.ended_at - deaf_at[kind], 3) for kind, host in hosts.items()}
    print(f"accepts no more: ended after {took_s}")
    assert ends == dict.fromkeys(hosts, Outcome("watchdog", "killed", 6))
    assert all(length_s < 2 * 1.0 + REST_S for length_s in took_s.values()), took_s
    assert all(host.pids() == [] for host in hosts.values())


@pytest.mark.slow
def test_server_that_accepts_but_never_answers_is_ended(host: Host, port: str) -> None:
    """A connection proves nothing where an answer was asked for."""
    target = [*SERVER, "--speaks", "http", "--fault", "mute", port]
    host.start(["--probe", f"http://127.0.0.1:{port}/"], target, watchdog_s=1.0)
    mute_at = host.signal_target("USR1")
    assert host.wait_end() == Outcome("watchdog", "killed", 6)
    assert host.ended_at - mute_at < 2 * 1.0 + REST_S


@pytest.mark.slow
def test_server_that_answers_500_is_ended_and_status_said_why(host: Host, port: str) -> None:
    """The admin who finds "Watchdog timeout" in the log needs the reason beside it."""
    target = [*SERVER, "--speaks", "http", "--fault", "sick", port]
    host.start(["--probe", f"http://127.0.0.1:{port}/"], target, watchdog_s=2.0, restart="always")
    sick_at = host.signal_target("USR1")
    host.wait_status(r"unhealthy: .*HTTP 500.*systemd acts in")
    result, at = host.wait_restart()
    assert result == "watchdog"
    assert at - sick_at < 2.0 + REST_S
    assert "HTTP 500" in host.journal()


@pytest.mark.slow
def test_target_that_recovers_in_time_lives_on(host: Host, port: str) -> None:
    """WatchdogSec= is a tolerance: a hiccup shorter than that is nobody's business."""
    host.start(["--probe", f"tcp:{port}"], [*SERVER, "--fault", "deaf", port], watchdog_s=2.0)
    host.signal_target("USR1")
    host.wait_line("unhealthy: ")
    host.signal_target("USR2")
    host.wait_line("healthy again")
    host.wait_fed_for(2.0)


@pytest.mark.slow
def test_continued_target_lives_on(host: Host, port: str) -> None:
    """A debugger's or an admin's short SIGSTOP costs nothing."""
    host.start(["--probe", f"tcp:{port}"], [*SERVER, port], watchdog_s=2.0)
    host.freeze_target()
    host.wait_line("unhealthy: ")
    host.signal_target("CONT")
    host.wait_line("healthy again")
    host.wait_fed_for(2.0)


@pytest.mark.parametrize("kill_mode", KILL_MODES)
def test_abort_reaches_the_target(make_host: Callable[[], Host], kill_mode: str) -> None:
    """The trace or core dump that the watchdog's SIGABRT is for must be the target's own."""
    deaf, frozen = make_host(), make_host()
    for host in (deaf, frozen):
        port = free_port()
        target = [*SERVER, "--trace", "--fault", "deaf", port]
        host.start(["--probe", f"tcp:{port}"], target, watchdog_s=1.0, kill_mode=kill_mode)
    deaf.signal_target("USR1")
    frozen.freeze_target()
    for host in (deaf, frozen):
        assert host.wait_end() == Outcome("watchdog", "killed", 6)
        host.wait_line("Fatal Python error: Aborted")
        host.wait_line(r"server\.py.* in serve")


@pytest.mark.parametrize("kill_mode", KILL_MODES)
def test_a_trace_is_not_cut_off(host: Host, port: str, kill_mode: str) -> None:
    """With KillMode=control-group systemd has sent it an ABRT: ours would be the second."""
    target = [*SERVER, "--slow-trace", "--fault", "deaf", port]
    host.start(["--probe", f"tcp:{port}"], target, watchdog_s=1.0, kill_mode=kill_mode)
    host.signal_target("USR1")
    assert host.wait_end() == Outcome("watchdog", "killed", 6)
    host.wait_line("trace begins")
    host.wait_line("trace ends")


@pytest.mark.slow
def test_target_that_ignores_abort_is_killed_after_the_abort_timeout(host: Host, port: str) -> None:
    """A target may be too far gone for SIGABRT: systemd's SIGKILL reaches it through the cgroup."""
    target = [*SERVER, "--ignore-abort", "--fault", "deaf", port]
    host.start(["--probe", f"tcp:{port}"], target, watchdog_s=1.0, stop_timeout_s=0.3)
    host.signal_target("USR1")
    assert host.wait_end() == Outcome("watchdog", "killed", 9)
    assert host.pids() == []


def test_crashed_target_is_restarted_at_once(host: Host, port: str) -> None:
    """A death is known without any probe: waiting for the watchdog would be a waste."""
    host.start(["--probe", f"tcp:{port}"], [*SERVER, port], watchdog_s=30.0, restart="always")
    crashed_at = host.signal_target("SEGV")
    result, at = host.wait_restart()
    assert result == "signal"
    assert at - crashed_at < 1.0
    host.wait_active()


@pytest.mark.slow
def test_second_life_is_watched_as_the_first(host: Host, port: str) -> None:
    """Restart=always is the point of a watchdog: it must work more than once."""
    options = ["--probe", f"http://127.0.0.1:{port}/"]
    target = [*SERVER, "--speaks", "http", port]
    host.start(options, target, watchdog_s=1.0, restart="always")
    for life in (1, 2):
        host.wait_active()
        host.freeze_target()
        assert host.wait_restart().result == "watchdog"
        assert host.restarts == life
