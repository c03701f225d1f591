"""`--main target` under the real systemd: it looks after the target, and listens to the sidecar."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hosts import OBEY, SERVER, Outcome, poll

if TYPE_CHECKING:
    from collections.abc import Sequence

    from systemd_host import SystemdHost

pytestmark = pytest.mark.systemd

# From the event to the next life, without RestartSec= of 100 ms and what systemd waits for itself.
REST_S = 0.5


def start(
    systemd: SystemdHost, options: Sequence[str], target: Sequence[str], **more: Any
) -> tuple[int, int]:
    """Start it; returns the pids of the target and of its sidecar."""
    options = ["--main", "target", *options]
    assert systemd.start(options, target, NotifyAccess="all", **more).ok, systemd.journal()
    main = systemd.wrapper_pid
    (sidecar,) = set(systemd.pids()) - {main}
    return main, sidecar


def command_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def test_main_pid_is_the_target(systemd: SystemdHost, port: str) -> None:
    """What signals, kills, limits and accounts for a service then means the target itself."""
    target = [*SERVER, port]
    main, sidecar = start(systemd, ["--probe", f"tcp:{port}"], target, watchdog_s=1.0)
    assert command_of(main) == target
    assert "--main" in command_of(sidecar)
    systemd.wait_status(rf"ready after .*, watching tcp:{port}")
    systemd.wait_fed_for(1.5)
    assert systemd.restarts == 0


@pytest.mark.slow
def test_a_hung_target_is_restarted_within_watchdog_sec(systemd: SystemdHost, port: str) -> None:
    """The promise is the same: no evidence, no ping."""
    options = ["--probe", f"tcp:{port}"]
    more = {"watchdog_s": 1.0, "restart": "always"}
    main, _ = start(systemd, options, [*SERVER, "--trace", port], **more)
    before = systemd.fed_at
    os.kill(main, signal.SIGSTOP)
    life = systemd.wait_restart()
    assert life.result == "watchdog"
    took_s = life.at - before
    print(f"WatchdogSec=1: next life {took_s:.3f} s after the last ping")
    assert took_s < 1.0 + 1.0 + REST_S  # that ping may have been just before the next one
    systemd.wait_active()
    assert "Fatal Python error: Aborted" in systemd.journal(), "the target did not get its ABRT"


@pytest.mark.slow
@pytest.mark.parametrize("kill_mode", ["mixed", "control-group"])
def test_a_dead_sidecar_is_a_missed_ping(systemd: SystemdHost, port: str, kill_mode: str) -> None:
    """Nobody knows any more whether the target works: systemd acts within WatchdogSec."""
    more = {"watchdog_s": 1.0, "restart": "always", "kill_mode": kill_mode}
    _, sidecar = start(systemd, ["--probe", f"tcp:{port}"], [*SERVER, port], **more)
    before = systemd.fed_at
    os.kill(sidecar, signal.SIGKILL)
    life = systemd.wait_restart()
    assert (life.result, life.at - before < 1.0 + 1.0 + REST_S) == ("watchdog", True)
    systemd.wait_active()
    poll(lambda: len(systemd.pids()) == 2, what="a target and its sidecar again")


@pytest.mark.parametrize("kill_mode", ["mixed", "control-group"])
def test_stop_takes_no_longer_than_the_target(
    systemd: SystemdHost, port: str, kill_mode: str
) -> None:
    """What is left in the cgroup when the main process has ended is killed after TimeoutStopSec."""
    start(systemd, ["--probe", f"tcp:{port}"], [*SERVER, port], kill_mode=kill_mode)
    assert systemd.stop() == Outcome("success", "killed", signal.SIGTERM)
    assert systemd.pids() == []
    took_s = systemd._moment("InactiveEnter") - systemd._moment("ActiveExit")
    print(f"KillMode={kill_mode}: stopped in {took_s:.3f} s")
    assert took_s < REST_S
    # With "mixed" systemd kills at once what is left, and the sidecar may not have ended just yet.
    assert kill_mode == "mixed" or "SIGKILL" not in systemd.journal()


def test_the_end_of_the_target_is_the_services(systemd: SystemdHost, name: str) -> None:
    """Its own exit status, seen by systemd itself; and the next life is not kept waiting."""
    more = {"restart": "always", "kill_mode": "control-group"}
    main, _ = start(systemd, ["--ready", f"listen:{name}"], [*OBEY, name, "USR1=3"], **more)
    before = time.monotonic()
    os.kill(main, signal.SIGUSR1)
    life = systemd.wait_restart()
    assert life.result == "exit-code"
    print(f"next life {life.at - before:.3f} s after the end of the last one")
    assert life.at - before < 0.1 + REST_S
    systemd.wait_line(r"Main process exited, code=exited, status=3")


@pytest.mark.slow
def test_notify_access_all_is_needed(systemd: SystemdHost, name: str) -> None:
    """systemd does not listen to any other process by default, and its journal says which."""
    started = systemd.start(
        ["--main", "target", "--ready", f"listen:{name}"], [*OBEY, name], start_timeout_s=1.0
    )
    assert not started.ok
    systemd.wait_line(r"reception only permitted for main PID")
    assert systemd.wait_end().result == "timeout"
    assert systemd.pids() == []
