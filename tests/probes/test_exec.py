"""`exec:` runs a command in its own process group and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import ExecProbe
from notifywrap.probes import open_attempt
from notifywrap.probes.tree import children


def sh(script: str) -> ExecProbe:
    return ExecProbe(f"exec:{script}", ("sh", "-c", script))


def is_gone(pid: int) -> bool:
    """Whether no such process runs; a zombie that somebody else should reap counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def is_inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False  # the one that listed the directory


@pytest.mark.parametrize(
    ("script", "outcome", "reason"),
    [
        ("true", Outcome.PASSED, ""),
        ("echo noise; exit 0", Outcome.PASSED, ""),
        ("exit 3", Outcome.FAILED, "exit 3"),
        (
            "echo one; echo 'connection refused' >&2; exit 1",
            Outcome.FAILED,
            "exit 1: connection refused",
        ),
        ("kill -9 $$", Outcome.FAILED, "killed by signal 9"),
        ("printf 'a\\033[2Jb\\377\\n\\n'; exit 1", Outcome.FAILED, "exit 1: a [2Jb\ufffd"),
    ],
)
def test_the_exit_status_decides_and_the_last_line_says_why(
    attempt, script, outcome, reason, older_children
):
    """What the command says is for STATUS: one clean line of it."""
    sample = attempt(sh(script))
    assert (sample.outcome, sample.reason) == (outcome, reason)
    assert set(children(os.getpid())) == older_children


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("/no/such/thing",), "cannot run '/no/such/thing': not found"),
        (("no-such-thing-anywhere",), "cannot run 'no-such-thing-anywhere': not found"),
        (("/etc/passwd",), "cannot run '/etc/passwd': permission denied"),
    ],
)
def test_a_command_that_cannot_run_is_broken(attempt, monkeypatch, argv, words):
    """That says nothing about the target."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    sample = attempt(ExecProbe("exec:x", argv))
    assert (sample.outcome, sample.reason) == (Outcome.BROKEN, words)


def test_a_timeout_kills_the_whole_group(targets, drive, tmp_path, older_children):
    """Probes that pile up have taken whole machines down (k8s#81042): children go too."""
    pids = tmp_path / "pids"
    attempt = open_attempt(
        sh(f"sleep 60 & sleep 61 & echo $$ $! > {pids}; echo working; wait"), targets()
    )
    sample = drive(attempt, 0.5).sample
    assert (sample.outcome, sample.reason) == (Outcome.TIMED_OUT, "still running: working")
    assert set(children(os.getpid())) == older_children
    deadline = time.monotonic() + 5
    while not all(is_gone(int(pid)) for pid in pids.read_text().split()):
        assert time.monotonic() < deadline


def test_grandchildren_do_not_outlive_a_passed_probe(targets, drive, tmp_path):
    """`sh -c "thing &"` ends at once; the thing keeps the output open, and must not keep us."""
    pid = tmp_path / "pid"
    sample = drive(open_attempt(sh(f"sleep 60 & echo $! > {pid}"), targets()), 5).sample
    assert sample.outcome is Outcome.PASSED
    deadline = time.monotonic() + 5
    while not is_gone(int(pid.read_text())):
        assert time.monotonic() < deadline


def test_endless_output_neither_blocks_nor_fills_memory(targets, drive):
    """A full pipe would hang the command, and its whole output does not fit in a small wrapper."""
    sample = drive(
        open_attempt(sh("head -c 3000000 /dev/zero; echo; echo end; exit 1"), targets()), 10
    ).sample
    assert sample.reason == "exit 1: end"


def test_closed_output_does_not_make_it_spin(targets, drive):
    """A command that closes its output before it ends: no event is left but its end."""
    attempt = open_attempt(sh("exec >/dev/null 2>&1; sleep 0.3"), targets())
    driven = drive(attempt, 5)
    assert driven.sample.outcome is Outcome.PASSED
    assert driven.wakeups < 6


def test_it_speaks_for_nobody(attempt, monkeypatch):
    """NOTIFY_SOCKET in a probe could make the service ready.

    WATCHDOG_PID and LISTEN_FDS are not meant for it.
    """
    for name in (
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "NOTIFYWRAP_READY",
    ):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("KEPT", "yes")
    sample = attempt(sh("env | grep -E '^(NOTIFY|WATCHDOG|LISTEN)' && exit 1; test $KEPT = yes"))
    assert sample.outcome is Outcome.PASSED


def test_it_finds_default_signals_an_empty_mask_and_its_own_group(attempt):
    """The wrapper handles and blocks signals; a probe that inherits that cannot be stopped."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        sample = attempt(
            sh(
                "echo $$ $(cut -d' ' -f5 /proc/$$/stat)"
                " $(grep -E 'Sig(Blk|Ign)' /proc/$$/status); exit 1"
            )
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    pid, group, _, blocked, _, ignored = sample.reason.removeprefix("exit 1: ").split()
    assert (pid, int(blocked, 16)) == (group, 0)
    # glibc's posix_spawn() leaves 32 and 33, its own, ignored; the program's libc sees to them.
    assert int(ignored, 16) & ~(1 << 31 | 1 << 32) == 0


def test_standard_input_is_empty(attempt):
    """A command that reads must not wait for a terminal."""
    assert attempt(sh("read x && exit 1; exit 0")).outcome is Outcome.PASSED


def test_a_supervisor_that_reaps_everything_may_be_faster(targets):
    """It calls waitpid(-1) in one place and says what it got: the attempt takes it from there."""
    attempt = open_attempt(sh("exit 4"), targets())
    pid, status = os.waitpid(-1, 0)
    assert pid == attempt.pid
    attempt.reaped(status)
    sample = attempt.advance()
    attempt.close()
    assert sample is not None
    assert sample.reason == "exit 4"


def test_a_stop_is_not_an_end(targets, drive):
    """A supervisor with a terminal waits for stopped children too, and hands on what it gets."""
    attempt = open_attempt(sh("kill -STOP $$; exit 0"), targets())
    pid, status = os.waitpid(attempt.pid, os.WUNTRACED)
    attempt.reaped(status)
    assert attempt.advance() is None
    os.kill(pid, signal.SIGCONT)
    assert drive(attempt, 5).sample.outcome is Outcome.PASSED


def test_a_status_that_was_lost_is_broken_and_no_busy_loop(targets, drive):
    """Should a reaper forget to say what it got, the probe ends; it does not spin on the pidfd."""
    attempt = open_attempt(sh("exit 0"), targets())
    os.waitpid(attempt.pid, 0)
    driven = drive(attempt, 5)
    assert driven.sample.outcome is Outcome.BROKEN
    assert driven.wakeups <= 2


def test_it_never_reaps_another_child(targets, drive):
    """The target's exit status is not ours to take."""
    other = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 9"], {})
    assert drive(open_attempt(sh("true"), targets()), 5).sample.outcome is Outcome.PASSED
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 9


def test_its_child_is_a_stranger_to_the_targets_tree_while_it_runs(targets, older_children):
    """A probe that listens for a moment must not make the target look ready."""
    target = targets()
    attempt = open_attempt(sh("sleep 60"), target)
    assert target.strangers == {attempt.pid} | older_children
    attempt.close()
    assert target.strangers == older_children
    assert set(children(os.getpid())) == older_children


def test_no_descriptor_stays_open(attempt, targets):
    """Nor does one leak into the command."""
    target = targets()
    attempt(sh("true"), target)
    before = sorted(os.listdir("/proc/self/fd"))
    for script in ("true", "exit 1", "sleep 9"):
        attempt(sh(script), target, timeout_s=0.2)
    attempt(ExecProbe("exec:x", ("/no/such",)), target)
    assert sorted(os.listdir("/proc/self/fd")) == before
    inherited = {fd for fd in map(int, before) if fd > 2 and is_inheritable(fd)}
    seen = attempt(sh("echo $(ls /proc/self/fd); exit 1")).reason.removeprefix("exit 1: ")
    assert set(map(int, seen.split())) - inherited - {0, 1, 2} <= {3, 4}  # ls's own
