"""The stand-in with real processes: starts, watches and ends them as systemd does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from notifywrap.testing.manager import Manager
from notifywrap.testing.timeline import ManagerError

TOY = str(Path(__file__).with_name("toy.py"))
LONG_S = 20.0  # more than anything here takes on a busy machine


def toy(*deeds: str, **settings: Any) -> Manager:
    return Manager([sys.executable, "-I", "-S", TOY, *deeds], **settings)


def line(unit: Manager) -> str:
    assert unit.stdout is not None
    return unit.stdout.readline().decode().strip()


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_pings_and_status_are_seen(abstract: bool) -> None:
    """The whole of the happy path, for both kinds of NOTIFY_SOCKET."""
    with toy(
        "say:READY=1\\nSTATUS=up", "ping:0.01:3", "wait", watchdog_s=30, abstract=abstract
    ) as unit:
        assert unit.wait_ready(LONG_S) > 0
        unit.wait_for(lambda: len(unit.pings) == 3, LONG_S, "3 pings")
        assert (unit.state, unit.status) == ("active", "up")
        assert unit.messages[0].message.get("STATUS") == "up"
        assert unit.stop(LONG_S) == ("success", 0, signal.SIGTERM, False)
        assert unit.state == "inactive"


def test_the_environment_is_systemds() -> None:
    """WATCHDOG_PID and SYSTEMD_EXEC_PID are the command's own pid; the caller's are not seen."""
    inherited = {**os.environ, "WATCHDOG_USEC": "7", "NOTIFY_SOCKET": "/other", "MINE": "1"}
    names = ("WATCHDOG_USEC", "WATCHDOG_PID", "SYSTEMD_EXEC_PID", "MINE", "INVOCATION_ID")
    deeds = [f"env:{name}" for name in names]
    with toy(*deeds, watchdog_s=2.5, env=inherited, stdout=PIPE) as unit:
        pid = str(unit.main_pid)
        assert [line(unit) for _ in names[:4]] == ["2500000", pid, pid, "1"]
        assert len(line(unit)) == 32
    with toy(*deeds, env=inherited, stdout=PIPE) as unit:
        assert [line(unit) for _ in names[:2]] == ["-", "-"]


def test_the_watchdog_fires_when_pings_stop() -> None:
    """The main job: Result=watchdog, SIGABRT, nobody left."""
    with toy("say:READY=1", "ping:0.1:5", "wait", watchdog_s=0.5) as unit:
        assert unit.wait_ended(LONG_S)[:3] == ("watchdog", 0, signal.SIGABRT)
        assert unit.watchdog_fired
        assert len(unit.pings) == 5
        assert unit.largest_gap_s >= 0.5


def test_a_stopped_process_gets_the_abort() -> None:
    """SIGCONT follows it, or a process in SIGSTOP would not notice."""
    with toy("say:READY=1", "stop", watchdog_s=0.3, abort_timeout_s=LONG_S) as unit:
        assert unit.wait_ended(LONG_S)[:3] == ("watchdog", 0, signal.SIGABRT)


def test_abort_is_followed_by_kill() -> None:
    """For a process that ignores SIGABRT."""
    deeds = (f"ignore:{signal.SIGABRT:d}", "say:READY=1", "wait")
    with toy(*deeds, watchdog_s=0.2, abort_timeout_s=0.2) as unit:
        assert unit.wait_ended(LONG_S)[:3] == ("watchdog", 0, signal.SIGKILL)


def test_a_start_without_ready_times_out() -> None:
    """TimeoutStartSec ends it."""
    with toy("wait", start_timeout_s=0.2) as unit:
        assert unit.wait_ended(LONG_S).result == "timeout"


@pytest.mark.parametrize("code", [0, 1, 2, 125, 255])
def test_exit_status_is_reported(code: int) -> None:
    """What `systemctl show -p ExecMainStatus,Result` would say."""
    with toy("say:READY=1", f"exit:{code}") as unit:
        assert unit.wait_ended(LONG_S)[:2] == ("exit-code" if code else "success", code)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP])
def test_death_by_signal_is_reported(signum: int) -> None:
    """A clean signal is success, another is not."""
    with toy("say:READY=1", f"kill:{signum:d}") as unit:
        result = unit.wait_ended(LONG_S)
        assert result.signum == signum
        assert (result.result == "success") == (signum == signal.SIGHUP)


def test_the_last_words_of_the_dead_count() -> None:
    """systemd reads notifications before it looks at exits."""
    with toy("say:READY=1\\nSTATUS=bye", "exit:3") as unit:
        unit.wait_ended(LONG_S)
        assert unit.status == "bye"
        assert unit.ready_s is not None


def test_a_message_from_another_process_is_refused_and_told() -> None:
    """NotifyAccess=main."""
    with toy("say-from-child:READY=1", "say:STATUS=done", "wait") as unit:
        unit.wait_for(lambda: unit.status == "done", LONG_S, "the second message")
        assert unit.state == "activating"
        assert [received.counted for received in unit.messages] == [False, True]
        assert "NotifyAccess=main" in next(e.text for e in unit.timeline if e.what == "ignored")


@pytest.mark.parametrize("kill_mode", ["control-group", "mixed"])
def test_whoever_is_left_is_ended_with_the_service(kill_mode: str) -> None:
    """Children and daemonized orphans, deaf to TERM: KillMode= has them all."""
    deeds = ("fork", "orphan", "say:READY=1", "exit:0")
    with toy(*deeds, stop_timeout_s=0.2, kill_mode=kill_mode, stdout=PIPE) as unit:
        pids = [int(line(unit)), int(line(unit))]
        unit.wait_ended(LONG_S)
        assert all(is_gone(pid) for pid in pids)


def test_leaving_the_block_leaves_nothing() -> None:
    """A test that fails in the middle must not litter the machine."""
    with toy("fork", "orphan", "say:READY=1", "wait", stdout=PIPE) as unit:
        pids = [int(line(unit)), int(line(unit)), unit.main_pid]
    assert all(is_gone(pid) for pid in pids)
    assert not Path(unit._inbox.address).exists()


def test_a_killed_caller_leaves_nothing() -> None:
    """kill -9 of the test run: the cage notices, and kills what it holds."""
    script = (
        "import sys\n"
        "from notifywrap.testing.manager import Manager\n"
        "unit = Manager(sys.argv[1:])\n"
        "unit.start()\n"
        "unit.wait_ended(600)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, sys.executable, "-I", "-S", TOY, "orphan", "wait"]
    caller = subprocess.Popen(command, env=env, stdout=PIPE)
    assert caller.stdout is not None
    caller.stdout.readline()
    caller.kill()
    caller.wait()
    # Both the orphan and the main process hold the pipe: it ends when they do.
    assert caller.stdout.read() == b""
    caller.stdout.close()


def test_a_command_that_cannot_be_executed_is_203() -> None:
    """As systemd has it: status=203/EXEC."""
    with Manager(["/no/such/command"], stderr=PIPE) as unit:
        assert unit.wait_ended(LONG_S)[:2] == ("exit-code", 203)
        assert unit.stderr is not None
        assert b"/no/such/command" in unit.stderr.read()


def test_waiting_in_vain_tells_the_story() -> None:
    """What went before is what one needs to know."""
    story = r"(?s)it ended before.*STATUS=hello.*exit status 4"
    with toy("say:STATUS=hello", "exit:4") as unit, pytest.raises(ManagerError, match=story):
        unit.wait_ready(LONG_S)
    with toy("wait") as unit, pytest.raises(ManagerError, match=r"0\.05 s passed"):
        unit.wait_ready(0.05)


def test_stop_is_term_then_kill() -> None:
    """TimeoutStopSec for a process that ignores TERM."""
    deeds = (f"ignore:{signal.SIGTERM:d}", "say:READY=1", "wait")
    with toy(*deeds, stop_timeout_s=0.2) as unit:
        unit.wait_ready(LONG_S)
        assert unit.stop(LONG_S) == ("timeout", 0, signal.SIGKILL, False)


def test_a_barrier_is_answered() -> None:
    """sd_notify_barrier(3) waits until its descriptor is closed."""
    daemon = pytest.importorskip("systemd._daemon")
    del daemon
    script = (
        "import ctypes, sys\n"
        "library = ctypes.CDLL('libsystemd.so.0')\n"
        "sys.exit(library.sd_notify_barrier(0, ctypes.c_uint64(5_000_000)) - 1)\n"
    )
    with Manager([sys.executable, "-c", script]) as unit:
        assert unit.wait_ended(LONG_S).code == 0


def test_two_services_at_a_time_do_not_mix() -> None:
    """Each has its own cage: the end of one does not touch the other."""
    with toy("say:READY=1\\nSTATUS=1", "wait") as one, toy("say:READY=1\\nSTATUS=2", "wait") as two:
        one.wait_ready(LONG_S)
        two.wait_ready(LONG_S)
        one.stop(LONG_S)
        assert (two.state, one.status, two.status) == ("active", "1", "2")


def test_the_signal_world_is_the_one_of_a_service() -> None:
    """SIGPIPE ignored (IgnoreSIGPIPE=yes), all else as the kernel has it, nothing blocked."""
    with Manager(["/bin/cat", "/proc/self/status"], stdout=PIPE) as unit:
        assert unit.stdout is not None
        fields = dict(row.split(":", 1) for row in unit.stdout.read().decode().splitlines())
    assert int(fields["SigIgn"], 16) == 1 << signal.SIGPIPE - 1
    assert int(fields["SigBlk"], 16) == 0
