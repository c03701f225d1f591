"""`fd:`: a newline on a descriptor of its own says that the target is ready, as s6 has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from notifywrap.errors import SpecError
from notifywrap.policy.events import Outcome, Sample
from notifywrap.policy.probe import FdProbe
from notifywrap.policy.probespec import parse_probe
from notifywrap.probes import open_attempt
from notifywrap.probes.fd import Newline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from notifywrap.probes.target import Target

PROBE = FdProbe("fd:5", 5)


@pytest.fixture
def pipe(targets: Callable[..., Target]) -> Iterator[tuple[Target, int]]:
    """A target that waits for a newline on 5, and the end to write it to."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    goal = targets(1)
    goal.newlines[5] = Newline(reading)
    yield goal, writing
    goal.newlines[5].close()
    try:
        os.close(writing)
    except OSError:
        pass  # closed by the test


def test_it_passes_when_the_newline_comes_whatever_stands_before_it(pipe, drive):
    """The s6 way: what the line says means nothing."""
    goal, writing = pipe
    attempt = open_attempt(PROBE, goal)
    assert attempt.advance() is None
    os.write(writing, b"version 1.2 ")
    assert attempt.advance() is None
    os.write(writing, b"is up\nand more")
    assert drive(attempt).sample.outcome is Outcome.PASSED
    assert drive(open_attempt(PROBE, goal)).sample.outcome is Outcome.PASSED


def test_what_comes_between_two_attempts_counts(pipe, drive):
    """An attempt ends after five seconds, a start may take minutes."""
    goal, writing = pipe
    first = drive(open_attempt(PROBE, goal), timeout_s=0.01).sample
    assert (first.outcome, first.reason) == (Outcome.TIMED_OUT, "no newline yet")
    os.write(writing, b"\n")
    os.close(writing)
    assert drive(open_attempt(PROBE, goal)).sample.outcome is Outcome.PASSED


def test_after_the_newline_nobody_reads_any_more(pipe, drive):
    """As with s6: what is written then is a broken pipe, and nothing that could fill up."""
    goal, writing = pipe
    os.write(writing, b"\n")
    drive(open_attempt(PROBE, goal))
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"more")


def test_closed_without_a_newline_is_a_no_that_stays(pipe, drive):
    """It will never come; STATUS says what is wrong, and to ask on and on costs next to nothing."""
    goal, writing = pipe
    os.write(writing, b"ready")
    os.close(writing)
    told = Sample(Outcome.FAILED, "closed fd 5 without a newline")
    assert drive(open_attempt(PROBE, goal)).sample == told
    again = open_attempt(PROBE, goal)
    assert (again.advance(), again.fileno(), again.overdue()) == (None, -1, told)
    assert drive(open_attempt(PROBE, goal)) == (told, 2)


def test_a_target_that_writes_without_end_does_not_keep_the_loop(pipe):
    """Bounded in size: the rest is read in the next turn."""
    goal, writing = pipe
    os.set_blocking(writing, False)
    attempt = open_attempt(PROBE, goal)
    for _ in range(3):
        try:
            while True:
                os.write(writing, b"x" * 4096)
        except BlockingIOError:
            pass
        assert attempt.advance() is None


@pytest.mark.parametrize("text", ["fd:0", "fd:1", "fd:2", "fd:-1", "fd:x", "fd:", "fd:3.5", "fd:³"])
def test_what_cannot_be_is_refused_before_anything_starts(text: str):
    """stdin, stdout and stderr are in use; and `log:` is what reads the latter."""
    with pytest.raises(SpecError, match="--ready"):
        parse_probe(text, "--ready", lambda *_: ())
