"""Signals go to the target as they come to the wrapper: all of them, none lost, none made up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from notifywrap.runtime.signals import is_handled_by
from tests.runtime.wrapped import (
    LIMIT_S,
    ROOT,
    Wrapped,
    clean_environment,
    command_line,
    run,
    running,
    sleeper,
    state_of,
    status_of,
    target,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.wrapped import Inbox

KEPT = {"SIGKILL", "SIGSTOP", "SIGCHLD", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL"}
JOB_CONTROL = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
FORWARDED = sorted(signal.valid_signals() - {getattr(signal, name) for name in KEPT})
REAL_TIME = range(signal.SIGRTMIN, signal.SIGRTMAX + 1)
FOLLOWED_BY_CONT = {signal.SIGTERM, signal.SIGABRT}


@pytest.fixture
def recorder() -> Iterator[Wrapped]:
    """A target that says which signals it gets."""
    with Wrapped(target("record_signals"), "--ready", "alive") as wrapper:
        assert wrapper.line() == "ready"
        wait_until_it_listens(wrapper)
        yield wrapper


def wait_until_it_listens(wrapper: Wrapped) -> None:
    """Until the wrapper has its handlers and nothing is blocked any more."""
    until(lambda: int(status_of(wrapper.pid, "SigCgt"), 16) >> 14 & 1, "a handler for TERM")
    until(lambda: int(status_of(wrapper.pid, "SigBlk"), 16) == 0, "signals are let through")


def heard(wrapper: Wrapped, signum: int) -> list[int]:
    """What the target gets after *signum* was sent to the wrapper, up to a USR1 that follows it."""
    wrapper.signal(signum)
    first = int(wrapper.line())
    wrapper.signal(signal.SIGUSR1 if signum != signal.SIGUSR1 else signal.SIGUSR2)
    got = [first]
    while got[-1] not in (signal.SIGUSR1, signal.SIGUSR2) or len(got) == 1:
        got.append(int(wrapper.line()))
    return got[:-1]


def test_every_signal_reaches_the_target_once_and_nothing_else_does(recorder: Wrapped):
    """Reopen logs, dump threads, toggle debug: daemons give meaning to any of them."""
    for signum in FORWARDED:
        if signum in JOB_CONTROL:
            continue
        follows = [signal.SIGCONT] if signum in FOLLOWED_BY_CONT else []
        assert sorted(heard(recorder, signum)) == sorted([signum, *follows])


def test_real_time_signals_are_never_merged(recorder: Wrapped):
    """The kernel queues them, each one counts: so it must be in front of the wrapper and behind."""
    burst = [signum for signum in REAL_TIME for _ in range(3)]
    os.kill(recorder.pid, signal.SIGSTOP)  # so that all of them are pending at once
    for signum in burst:
        recorder.signal(signum)
    os.kill(recorder.pid, signal.SIGCONT)
    got = [int(recorder.line()) for _ in range(len(burst) + 1)]
    assert sorted(got) == sorted([*burst, signal.SIGCONT])


def test_signals_are_read_in_the_order_in_which_the_kernel_delivered_them():
    """Python's own handlers run sorted by number and merged: they are not the record."""
    sent = [64, 40, 1, 36, 34, 34, 12, 15, 10, 34]
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from notifywrap.runtime.signals import SignalPipe
pipe = SignalPipe()
def deliver(*_):
    for signum in {sent}:
        os.kill(os.getpid(), signum)  # of several to oneself, each is delivered before kill() ends
deliver()
print(list(pipe.read()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sent)


def test_signals_go_to_the_target_alone_and_not_to_its_children():
    """A daemon's workers get what their master passes on; twice is how a graceful stop fails."""
    with Wrapped(target("with_child"), "--ready", "alive") as wrapper:
        assert wrapper.line() == "ready"
        wait_until_it_listens(wrapper)
        wrapper.signal(signal.SIGUSR1)
        assert wrapper.line() == "parent"
        os.killpg(wrapper.target_pid, signal.SIGUSR1)  # what a signal to the group looks like
        assert {wrapper.line(), wrapper.line()} == {"parent", "child"}


def test_reload_with_a_handler_tells_systemd_and_becomes_ready_again(inbox: Inbox):
    """`systemctl reload` waits from RELOADING=1, which needs the time with it, to READY=1."""
    words = target("record_signals")
    with Wrapped(words, "--ready", "alive", inbox=inbox, watchdog_s=60) as wrapper:
        assert inbox.wait("READY", "1")
        assert wrapper.line() == "ready"
        wrapper.signal(signal.SIGHUP)
        reloading = inbox.wait("RELOADING", "1")
        assert int(reloading["MONOTONIC_USEC"]) > 0
        assert wrapper.line() == str(int(signal.SIGHUP))
        assert inbox.wait("READY", "1")["WATCHDOG"] == "1"


def test_reload_is_not_sent_to_a_target_that_would_die_of_it(inbox: Inbox):
    """HUP kills by default: a `systemctl reload` must not take a daemon down that knows none."""
    hup = str(int(signal.SIGHUP))
    words = target("record_signals", hup)
    with Wrapped(words, "--ready", "alive", inbox=inbox) as wrapper:
        assert wrapper.line() == "ready"
        assert inbox.wait("READY", "1")
        wrapper.signal(signal.SIGHUP)
        wrapper.signal(signal.SIGUSR1)
        assert wrapper.line() == str(int(signal.SIGUSR1))
        assert not [message for message in inbox.drain() if "RELOADING" in message]
        wrapper.signal(signal.SIGKILL)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGABRT"])
def test_a_stopped_target_dies_by_the_signal_that_is_to_end_it(name: str):
    """systemd's watchdog sends ABRT: alone, it does nothing to a process that is stopped."""
    signum = getattr(signal, name)
    with Wrapped(["sh", "-c", "ulimit -c 0; exec sleep 1000"], "--ready", "alive") as wrapper:
        pid = wrapper.target_pid
        wait_until_it_listens(wrapper)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state_of(pid) == "T", "the target is stopped")
        wrapper.signal(signum)
        assert wrapper.end() == -signum


@pytest.mark.parametrize("signum", sorted(JOB_CONTROL))
@pytest.mark.parametrize("handled", [True, False], ids=["handled", "default"])
def test_a_stop_stops_target_and_wrapper_until_cont(signum: int, handled: bool):
    """Whoever stops the job means all of it; alone, the wrapper would call the target hung.

    A target without a handler is in a session of its own, where the kernel spares it the default
    action: it gets STOP instead.
    """
    words = target("record_signals", *([] if handled else [str(signum)]))
    with Wrapped(words, "--ready", "alive") as wrapper:
        assert wrapper.line() == "ready"
        wait_until_it_listens(wrapper)
        wrapper.signal(signum)
        until(lambda: state_of(wrapper.pid) == "T", "the wrapper is stopped")
        if handled:
            assert wrapper.line() == str(signum)
        else:
            until(lambda: state_of(wrapper.target_pid) == "T", "the target is stopped")
        wrapper.signal(signal.SIGCONT)
        assert wrapper.line() == str(int(signal.SIGCONT))
        assert state_of(wrapper.pid) != "T"


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_no_moment_of_the_start_loses_a_signal(signum: int):
    """`systemctl stop` right after start: a TERM lost in the fork gap is a stop that hangs."""
    ends, targets = [], []
    command = sleeper()
    for step in range(250):
        # The target itself would live on: only the signal can end it.
        process = subprocess.Popen(
            command_line("--log-level", "error", "--", *command),
            env=clean_environment(),
            stderr=subprocess.DEVNULL,
        )
        until_moment(step * 0.0002)
        process.send_signal(signum)
        # HUP is rightly kept from a target without a handler, and Python, while it starts up
        # itself, can lose the exception that it makes of INT.
        if signum in (signal.SIGHUP, signal.SIGINT):
            process.send_signal(signal.SIGTERM)
        targets.append(process)
    for process in targets:
        ends.append(process.wait(timeout=LIMIT_S))
    # INT while the interpreter itself starts is a failure of that, with status 1.
    allowed = {-signum, -signal.SIGTERM, *([1] if signum == signal.SIGINT else [])}
    assert set(ends) <= allowed
    until(lambda: not running(command), "no target has survived")


def until_moment(after_s: float) -> None:
    """Spin for a time too short to sleep for: what is tried here is every moment of a start."""
    deadline = time.perf_counter() + after_s
    while time.perf_counter() < deadline:
        pass


def test_what_was_ignored_at_start_stays_ignored_in_the_target():
    """nohup, and a shell's background jobs: the target must not die of what its user kept off."""
    given = {1, 2, 3, 10, 15, 17, 20, 34, 64}

    def ignore() -> None:
        for signum in given:
            signal.signal(signum, signal.SIG_IGN)

    done = run(
        *("--log-level", "error", "--sigpipe", "default", "--"),
        *("grep", "SigIgn", "/proc/self/status"),
        preexec_fn=ignore,
    )
    ignored = int(done.stdout.split()[1], 16)
    assert {signum for signum in range(1, 65) if ignored >> (signum - 1) & 1} == given


def test_a_nohup_service_survives_hup():
    """The wrapper has handlers of its own by then: that must not undo the nohup."""
    words = ["nohup", *command_line("--ready", "alive", "--", *target("end"))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        until(lambda: int(status_of(process.pid, "SigCgt"), 16) >> 14 & 1, "a handler for TERM")
        process.send_signal(signal.SIGHUP)
        process.communicate(b"exit 9\n", timeout=LIMIT_S)
        assert process.returncode == 9


def test_no_signal_at_all_needs_no_handler():
    """`--map-signal TSTP=0`, `--reload 0`: the question is asked before every signal that is
    mapped."""
    assert is_handled_by(os.getpid(), 0)
