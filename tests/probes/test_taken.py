"""A reload has begun when its signal was taken, and is worth asking about when the dust settles."""

from __future__ import annotations

import os
import signal
import time

from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import TakenProbe
from notifywrap.probes import open_attempt, taken

HUP = TakenProbe("HUP", signal.SIGHUP)
BLOCKED = """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    say("blocked")
    input()
    signal.sigwait([signal.SIGHUP])
    say("taken")
    input()
"""


def test_a_signal_that_nobody_has_taken_is_waited_for(spawn, targets, drive):
    """A target that is busy answers from its old configuration: its probes would pass at once."""
    helper = spawn(BLOCKED)
    assert helper.line() == "blocked"
    os.kill(helper.pid, signal.SIGHUP)
    target = targets(helper.pid)
    assert drive(open_attempt(HUP, target), timeout_s=0.2).sample.outcome is Outcome.TIMED_OUT
    helper.tell()
    assert helper.line() == "taken"
    assert drive(open_attempt(HUP, target)).sample.outcome is Outcome.PASSED


def test_a_handler_that_has_only_set_a_flag_is_not_enough(spawn, targets, drive):
    """Most handlers do just that, and the work comes after."""
    helper = spawn(
        """
        signal.signal(signal.SIGHUP, lambda *_: None)
        say("up")
        signal.pause()
        until = time.monotonic() + 0.4
        while time.monotonic() < until: pass
        say(time.monotonic())
        input()
        """
    )
    assert helper.line() == "up"
    while helper_state(helper.pid) != "S":
        pass
    os.kill(helper.pid, signal.SIGHUP)
    assert drive(open_attempt(HUP, targets(helper.pid))).sample.outcome is Outcome.PASSED
    assert time.monotonic() >= float(helper.line())


def test_the_children_must_have_acted_on_what_they_were_told(spawn, targets, drive):
    """Nginx: until the master's message has reached them the old workers answer as before."""
    helper = spawn(
        """
        told, tell = os.pipe()
        if os.fork() == 0:
            os.read(told, 1)
            until = time.monotonic() + 0.4
            while time.monotonic() < until: pass
            say(time.monotonic())
            signal.pause()
        signal.signal(signal.SIGHUP, lambda *_: os.write(tell, b"x"))
        say("up")
        signal.pause()
        signal.pause()
        """
    )
    assert helper.line() == "up"
    while helper_state(helper.pid) != "S":
        pass
    os.kill(helper.pid, signal.SIGHUP)
    assert drive(open_attempt(HUP, targets(helper.pid))).sample.outcome is Outcome.PASSED
    assert time.monotonic() >= float(helper.line())


def test_a_pause_in_the_middle_of_it_is_not_its_end(spawn, targets, drive):
    """Nginx' master gives its new workers 100 ms, and only then tells the old ones to go."""
    helper = spawn(
        """
        signal.signal(signal.SIGHUP, lambda *_: None)
        say("up")
        signal.pause()
        time.sleep(0.3)
        say(time.monotonic())
        input()
        """
    )
    assert helper.line() == "up"
    while helper_state(helper.pid) != "S":
        pass
    os.kill(helper.pid, signal.SIGHUP)
    assert drive(open_attempt(HUP, targets(helper.pid))).sample.outcome is Outcome.PASSED
    assert time.monotonic() >= float(helper.line())


def test_a_target_that_never_rests_has_its_bounded_time(spawn, targets, drive, monkeypatch):
    """One that computes all day must not make every reload fail."""
    monkeypatch.setattr(taken, "_UNREST_MOST_S", 0.2)
    helper = spawn("say('up')\nwhile True: pass")
    assert helper.line() == "up"
    began = time.monotonic()
    assert drive(open_attempt(HUP, targets(helper.pid))).sample.outcome is Outcome.PASSED
    assert time.monotonic() - began >= 0.2


def test_without_proc_it_passes_and_says_so(targets, drive):
    """No reload must fail for what cannot be looked at."""
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    sample = drive(open_attempt(HUP, targets(gone))).sample
    assert sample.outcome is Outcome.PASSED
    assert "/proc is hidden" in sample.note


def helper_state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
