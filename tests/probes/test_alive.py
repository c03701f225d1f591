"""`alive` and `file:`: one look at /proc, one at the file."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import AliveProbe, FileProbe
from notifywrap.probes import alive as alive_module


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for_state(pid: int, wanted: str) -> None:
    deadline = time.monotonic() + 10
    while state(pid) != wanted:
        assert time.monotonic() < deadline


def test_a_target_that_runs_passes_and_a_stopped_one_fails(spawn, attempt, targets):
    """Part of every live round: a stopped target must never get a ping."""
    helper = spawn("say('up'); input()")
    assert helper.line() == "up"
    target = targets(helper.pid)
    assert attempt(AliveProbe(), target).outcome is Outcome.PASSED
    helper.freeze()
    sample = attempt(AliveProbe(), target)
    assert (sample.outcome, sample.reason) == (Outcome.FAILED, "stopped")
    os.kill(helper.pid, signal.SIGCONT)
    wait_for_state(helper.pid, "S")
    assert attempt(AliveProbe(), target).outcome is Outcome.PASSED


def test_a_zombie_and_a_pid_that_is_gone_fail(spawn, attempt, targets):
    """Both may be seen in the moment between the target's end and its reaping."""
    helper = spawn("pass")
    target = targets(helper.pid)
    wait_for_state(helper.pid, "Z")
    assert attempt(AliveProbe(), target).reason == "not running"
    helper.process.wait()
    assert attempt(AliveProbe(), target).reason == "not running"
    helper.end = lambda: None


def test_a_target_whose_main_thread_has_ended_is_alive(spawn, attempt, targets):
    """Its leader is a zombie then, and stays one while the other threads work."""
    helper = spawn(
        """
        import ctypes
        threading.Thread(target=time.sleep, args=(60,)).start()
        say("up")
        ctypes.CDLL(None).syscall(60, 0)  # exit(2), of this thread only
        """
    )
    assert helper.line() == "up"
    wait_for_state(helper.pid, "Z")
    target = targets(helper.pid)
    assert attempt(AliveProbe(), target).outcome is Outcome.PASSED
    os.kill(helper.pid, signal.SIGSTOP)
    deadline = time.monotonic() + 10
    while attempt(AliveProbe(), target).outcome is Outcome.PASSED:
        assert time.monotonic() < deadline


def test_a_name_full_of_parentheses_is_no_trap(spawn, attempt, targets):
    """The name in /proc/PID/stat may hold anything: ") Z 1"."""
    helper = spawn("open('/proc/self/comm', 'w').write(') Z ) T 1'); say('up'); input()")
    assert helper.line() == "up"
    assert attempt(AliveProbe(), targets(helper.pid)).outcome is Outcome.PASSED


def test_without_proc_the_parent_still_knows(spawn):
    """hidepid= or no /proc at all.

    Waitid(2) tells a parent that its child is stopped, and takes nothing away.
    """
    helper = spawn("say('up'); input()")
    assert helper.line() == "up"
    assert alive_module._without_proc(helper.pid).outcome is Outcome.PASSED
    helper.freeze()
    assert alive_module._without_proc(helper.pid).reason == "stopped"
    assert alive_module._without_proc(helper.pid).reason == "stopped"
    os.kill(helper.pid, signal.SIGCONT)
    wait_for_state(helper.pid, "S")
    assert alive_module._without_proc(helper.pid).outcome is Outcome.PASSED


def test_without_proc_a_stranger_knows_only_that_it_exists():
    """And the note says what could not be told."""
    sample = alive_module._without_proc(1)
    assert sample.outcome is Outcome.PASSED
    assert "could not be told" in sample.note


def test_a_debugger_is_no_verdict_and_is_named(spawn, attempt, targets):
    """Somebody at work with gdb, not a hang: a time-out, for which the tracer is the excuse."""
    helper = spawn("say('up'); input()")
    assert helper.line() == "up"
    tracer = spawn(
        """
        import ctypes
        libc = ctypes.CDLL(None)
        if libc.ptrace(16, int(sys.argv[1]), 0, 0): say("refused"); sys.exit()
        os.waitpid(int(sys.argv[1]), 0x40000000); say("attached"); input()
        """,
        str(helper.pid),
    )
    if tracer.line() != "attached":
        pytest.skip("ptrace is not allowed here")
    sample = attempt(AliveProbe(), targets(helper.pid))
    assert (sample.outcome, sample.reason) == (Outcome.TIMED_OUT, "stopped by a debugger")
    assert alive_module.find_tracer(helper.pid).endswith(f" (pid {tracer.pid})")


def test_a_file_passes_when_it_exists(attempt, tmp_path):
    """Not before, and a directory on the way that is a file is no error of ours."""
    path = tmp_path / "ready"
    probe = FileProbe(f"file:{path}", str(path))
    assert attempt(probe).outcome is Outcome.FAILED
    path.touch()
    assert attempt(probe).outcome is Outcome.PASSED
    assert attempt(FileProbe("x", f"{path}/below")).reason == "does not exist"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look anywhere")
def test_a_file_that_may_not_be_looked_at_is_broken(attempt, tmp_path):
    """Whether it exists cannot be told."""
    tmp_path.chmod(0)
    sample = attempt(FileProbe("x", str(tmp_path / "a")))
    tmp_path.chmod(0o700)
    assert sample.outcome is Outcome.BROKEN
