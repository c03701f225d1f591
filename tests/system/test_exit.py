"""The unit ends as the target ended, and nothing of it is left, whoever ends it and how."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from hosts import KILL_MODES, OBEY, ORPHANS, PYTHON, SERVER, Host, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from systemd_host import SystemdHost

CODES = (0, 1, 143, 255)
SIGNALS = ("KILL", "SEGV", "TERM", "ABRT", "HUP", "BUS", "USR1")
CLEAN = ("TERM", "HUP", "INT", "PIPE")  # systemd.service(5), SuccessExitStatus=


def catching(name: str) -> list[str]:
    """Options for targets that listen once they are ready for signals, and accept nothing."""
    return ["--ready", f"listen:{name}", "--live", "alive"]


@pytest.mark.parametrize("code", CODES)
def test_exit_status_of_the_target_is_that_of_the_unit(host: Host, name: str, code: int) -> None:
    """Restart=on-failure, SuccessExitStatus= and RestartPreventExitStatus= count on it."""
    host.start(catching(name), [*OBEY, name, f"USR1={code}"])
    host.signal_target("USR1")
    assert host.wait_end() == Outcome("exit-code" if code else "success", "exited", code)
    assert host.pids() == []


@pytest.mark.parametrize("signum", SIGNALS)
def test_signal_that_killed_the_target_is_that_of_the_unit(
    host: Host, port: str, signum: str
) -> None:
    """128 + n would turn a clean TERM into a failure, and hide a crash behind a number."""
    # No handler for anything: every signal does what it does by default.
    code = f"import socket, signal; s = socket.create_server(('', {port})); signal.pause()"
    host.start(["--ready", f"listen:{port}"], [*PYTHON, "-c", code])
    host.signal_target(signum)
    result = "success" if signum in CLEAN else "signal"
    assert host.wait_end() == Outcome(result, "killed", getattr(signal, f"SIG{signum}"))
    assert host.pids() == []


@pytest.mark.parametrize("kill_mode", ["mixed", "control-group"])
def test_stop_of_a_target_that_dies_by_term_is_clean(host: Host, port: str, kill_mode: str) -> None:
    """The most common of all ends: `systemctl stop`, no handler."""
    host.start(["--probe", f"tcp:{port}"], [*SERVER, port], watchdog_s=30, kill_mode=kill_mode)
    assert host.stop() == Outcome("success", "killed", 15)
    assert host.state == "inactive"
    assert host.pids() == []


@pytest.mark.parametrize(("code", "result"), [(0, "success"), (3, "exit-code")])
def test_exit_status_after_a_stop_is_the_targets_own(
    host: Host, name: str, code: int, result: str
) -> None:
    """A target that fails to shut down in good order says so by its status."""
    host.start(catching(name), [*OBEY, name, f"TERM={code}"], watchdog_s=30)
    assert host.stop() == Outcome(result, "exited", code)


@pytest.mark.slow
@pytest.mark.parametrize("kill_mode", KILL_MODES)
def test_target_that_ignores_term_is_killed_after_timeout_stop_sec(
    host: Host, name: str, kill_mode: str
) -> None:
    """How long to wait is systemd's business alone: the wrapper has no timer of its own here."""
    options, target = catching(name), [*OBEY, name, "TERM="]
    host.start(options, target, watchdog_s=0.5, stop_timeout_s=0.8, kill_mode=kill_mode)
    assert host.stop() == Outcome("timeout", "killed", 9)
    assert host.pids() == []


def test_status_says_that_the_service_stops(host: Host, name: str) -> None:
    """A slow stop is looked at as a slow start is."""
    host.start(catching(name), [*OBEY, name, "TERM=", "USR1=0"])
    host.kill("TERM")
    host.wait_state("deactivating")
    host.wait_status("stopping: TERM")
    host.signal_target("USR1")
    assert host.wait_end() == Outcome("success", "exited", 0)


@pytest.mark.parametrize("kill_mode", KILL_MODES)
def test_orphans_of_the_target_are_cleaned_up_at_stop(
    host: Host, name: str, kill_mode: str
) -> None:
    """A daemon's double-forked helper that ignores TERM must not outlive its service."""
    host.start(catching(name), [*ORPHANS, name], stop_timeout_s=0.5, kill_mode=kill_mode)
    assert len(host.pids()) == 3, "wrapper, target and orphan"
    host.stop()
    assert host.pids() == []


def test_killed_wrapper_leaves_nothing_and_is_restarted(host: Host, port: str) -> None:
    """The OOM killer may pick the wrapper: its target must not run on beside the next one."""
    host.start(["--probe", f"tcp:{port}"], [*SERVER, port], watchdog_s=30, restart="always")
    first = set(host.pids())
    os.kill(host.wrapper_pid, signal.SIGKILL)
    assert host.wait_restart().result == "signal"
    host.wait_active()
    assert not first & set(host.pids())


def test_killed_wrapper_with_orphans_leaves_nothing(host: Host, name: str) -> None:
    """Without the wrapper nobody adopts them: they are systemd's to find."""
    host.start(catching(name), [*ORPHANS, name], stop_timeout_s=0.5)
    os.kill(host.wrapper_pid, signal.SIGKILL)
    assert host.wait_end() == Outcome("signal", "killed", 9)
    assert host.pids() == []


def test_signals_to_the_unit_reach_the_target_and_stop_nothing(host: Host, name: str) -> None:
    """QUIT asks for a thread dump, USR1 reopens logs: the unit goes on as before."""
    host.start(catching(name), [*OBEY, name], watchdog_s=1.0)
    for signum in ("USR1", "USR2", "QUIT", "INT", "WINCH", "ALRM", "RTMIN+3"):
        host.kill(signum)
        host.wait_line(f"^got {re.escape(signum)}$")
    host.wait_fed_for(1.2)
    assert host.state == "active"


def test_stop_signal_is_the_one_that_was_named(host: Host, name: str) -> None:
    """With KillSignal=QUIT, say, STOPPING=1 belongs to QUIT."""
    options = [*catching(name), "--stop-signal", "QUIT"]
    host.start(options, [*OBEY, name, "QUIT=0"])
    host.kill("QUIT")
    assert host.wait_end() == Outcome("success", "exited", 0)
    host.wait_line("got QUIT")


@pytest.mark.systemd
@pytest.mark.parametrize("signum", ["SEGV", "ABRT"])
def test_wrapper_dumps_no_core(
    systemd: SystemdHost, port: str, tmp_path: Path, signum: str
) -> None:
    """It mirrors the target's crash, but its own memory is of no use to anybody."""
    settings = {"LimitCORE": "infinity", "WorkingDirectory": tmp_path}
    systemd.start(["--probe", f"tcp:{port}"], [*SERVER, port], **settings)
    systemd.signal_target(signum)
    outcome = systemd.wait_end()
    assert outcome == Outcome("signal", "killed", getattr(signal, f"SIG{signum}"))
