"""`fds:`: how near a process of the target is to the limit of its open files."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from notifywrap.errors import SpecError
from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import FdsProbe
from notifywrap.policy.probespec import parse_probe
from notifywrap.probes import fds as fds_module
from notifywrap.probes.fds import count_fds, list_fds, most_fds
from tests.runtime.wrapped import until

# Opens as many files as it is told, under a limit of 100; `fork` lets a child do it.
OPEN = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
say("up")
for line in sys.stdin:
    word, count = line.split()
    if word == "fork" and os.fork():
        continue
    while len(os.listdir("/proc/self/fd")) - 1 < int(count):
        os.open("/dev/null", os.O_RDONLY)
    say("open")
    if word == "fork":
        signal.pause()
"""


def fds(percent: float) -> FdsProbe:
    return FdsProbe("fds:x", percent)


def test_it_fails_before_the_limit_is_reached_and_names_the_process(spawn, attempt, targets):
    """Afterwards accept(2) fails, and the daemon spins or hangs: late to find out."""
    helper = spawn(OPEN)
    assert helper.line() == "up"
    goal = targets(helper.pid)
    helper.tell("open 80")
    helper.line()
    assert attempt(fds(80), goal).outcome is Outcome.PASSED
    helper.tell("open 81")
    helper.line()
    sample = attempt(fds(80), goal)
    assert sample.outcome is Outcome.FAILED
    assert sample.reason == f"pid {helper.pid} has 81 of 100 fds open"


def test_each_process_has_a_limit_of_its_own(spawn, attempt, targets):
    """Added up a tree of small ones would fail; and the worker is full, not its master."""
    helper = spawn(OPEN)
    assert helper.line() == "up"
    goal = targets(helper.pid)
    for count in (60, 60, 90):
        assert attempt(fds(80), goal).outcome is Outcome.PASSED
        helper.tell(f"fork {count}")
        helper.line()
    children = Path(f"/proc/{helper.pid}/task/{helper.pid}/children").read_text().split()
    assert attempt(fds(80), goal).reason == f"pid {children[2]} has 90 of 100 fds open"


def test_they_are_counted_on_every_kernel(spawn):
    """Since Linux 6.2 by one look, before it one by one; and the bound is never below."""
    helper = spawn(OPEN)
    assert helper.line() == "up"
    helper.tell("open 70")
    helper.line()
    directory = f"/proc/{helper.pid}"
    assert count_fds(directory) == list_fds(directory) == 70 <= most_fds(directory)


def test_a_process_that_may_not_be_looked_into_is_judged_by_what_is_public(
    spawn, attempt, targets, monkeypatch
):
    """Before Linux 6.2 a target with capabilities of its own hides its fds, not their bound."""

    def refuse(_: str) -> int:
        raise PermissionError(13, "")

    helper = spawn("say('up'); input()")
    assert helper.line() == "up"
    goal = targets(helper.pid)
    monkeypatch.setattr(fds_module, "count_fds", refuse)
    limit = 10 * most_fds(f"/proc/{helper.pid}")
    resource.prlimit(helper.pid, resource.RLIMIT_NOFILE, (limit, limit))
    assert attempt(fds(10), goal).outcome is Outcome.PASSED
    sample = attempt(fds(9.9), goal)
    assert sample.outcome is Outcome.BROKEN
    assert sample.reason == f"cannot count the fds of pid {helper.pid}: permission denied"


def test_a_target_that_has_ended_does_not_pass(spawn, attempt, targets):
    """It has nothing open, which is no evidence of health."""
    helper = spawn("pass")
    goal = targets(helper.pid)
    until(lambda: " Z " in Path(f"/proc/{helper.pid}/stat").read_text(), "it is a zombie")
    assert attempt(fds(80), goal).outcome is Outcome.FAILED
    helper.process.wait()
    assert attempt(fds(80), goal).reason == "not running"
    helper.end = lambda: None


def test_processes_that_come_and_go_meanwhile_are_no_trouble(spawn, attempt, targets):
    """One that ended between the list and the look has nothing open."""
    helper = spawn(
        """
        say("up")
        while True:
            for _ in range(8):
                if os.fork() == 0: os._exit(0)
            for _ in range(8): os.wait()
        """
    )
    assert helper.line() == "up"
    for _ in range(300):
        assert attempt(fds(90), targets(helper.pid)).outcome is Outcome.PASSED


@pytest.mark.parametrize(("text", "percent"), [("80", 80.0), ("80%", 80.0), ("99.5%", 99.5)])
def test_the_percent_sign_may_be_left_out(text: str, percent: float):
    """In a unit `%%` has to be written for one."""
    assert parse_probe(f"fds:{text}", "--live", lambda *_: ()) == FdsProbe(f"fds:{text}", percent)


@pytest.mark.parametrize("text", ["0", "101", "-5", "%", "80%%", "x", "nan"])
def test_what_is_no_percentage_is_refused(text: str):
    """Before anything starts, with an example."""
    with pytest.raises(SpecError, match="fds:80%"):
        parse_probe(f"fds:{text}", "--live", lambda *_: ())


def test_our_own_limit_is_not_taken_for_the_targets():
    """systemd's LimitNOFILE= may differ from what the daemon sets for itself."""
    assert fds_module._limit("/proc/self") == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
