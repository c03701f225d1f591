"""`log:`: a line of the target's stdout or stderr says that it is ready."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

import pytest

from notifywrap.errors import SpecError
from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import LogProbe
from notifywrap.policy.probespec import parse_probe
from notifywrap.probes import open_attempt
from notifywrap.probes.log import LineWatch
from tests.runtime.wrapped import Inbox, Wrapped, run, target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from notifywrap.probes.target import Target


@pytest.fixture
def watch(targets: Callable[..., Target]) -> Iterator[Callable[[str], tuple[LineWatch, Target]]]:
    """A target of which one regular expression is waited for."""
    made = []

    def make(pattern: str) -> tuple[LineWatch, Target]:
        one, goal = LineWatch(pattern), targets(1)
        goal.lines[pattern] = one
        made.append(one)
        return one, goal

    yield make
    for one in made:
        one.close()
        one.close()


def is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def test_a_line_wakes_the_attempt_and_is_remembered(watch):
    """It comes once, and often before anybody asks: the next attempt must know of it."""
    line, goal = watch("ready in [0-9]+ ms")
    attempt = open_attempt(LogProbe("x", "ready in [0-9]+ ms"), goal)
    assert attempt.advance() is None
    line.look("not ready")
    assert attempt.advance() is None
    assert not is_readable(attempt.fileno())
    line.look("I am ready in 5 ms!")
    assert is_readable(attempt.fileno())
    assert attempt.advance().outcome is Outcome.PASSED
    line.look("something else")
    attempt.close()
    again = open_attempt(LogProbe("x", "ready in [0-9]+ ms"), goal)
    assert again.advance().outcome is Outcome.PASSED


def test_when_no_line_can_come_any_more_the_reason_says_so(watch):
    """A daemon that closes its output: STATUS must not say "not yet" for ever."""
    line, goal = watch("ready")
    attempt = open_attempt(LogProbe("x", "ready"), goal)
    assert (attempt.advance(), attempt.overdue().outcome) == (None, Outcome.TIMED_OUT)
    line.end()
    again = open_attempt(LogProbe("x", "ready"), goal)
    assert again.advance() is None, "it is no news: no busy loop"
    assert again.overdue().outcome is Outcome.FAILED
    assert is_readable(line.fd)
    sample = attempt.advance()
    assert (sample.outcome, "closed" in sample.reason) == (Outcome.FAILED, True)


@pytest.mark.parametrize(
    ("pattern", "line", "matches"),
    [
        (".*ready", "x ready", True),
        (".*.*ready$", "ready", True),
        (".*?ready", "x ready", True),
        (".*+ready", "x ready", False),
        (".*", "", True),
        ("^.*ready", "x ready", True),
        ("^ready", "x ready", False),
        ("a|.*b", "b", True),
        (".{2}b", "xb", False),
    ],
)
def test_a_leading_dot_star_means_what_it_means(watch, pattern: str, line: str, matches: bool):
    """It is taken off for speed, and only where that changes nothing."""
    one, _ = watch(pattern)
    one.look(line)
    assert one.came is matches


def test_a_long_line_does_not_take_the_watchdogs_time(watch):
    """`.*ready` is what many would write: tried from each place of a line it took seconds."""
    one, _ = watch(".*ready")
    began = time.thread_time()
    one.look("r" * 65536)
    assert time.thread_time() - began < 0.1


@pytest.mark.parametrize("text", ["log:(", "log:", "log:*x", "log:a{99999999999999999999}"])
def test_what_is_no_regular_expression_is_refused_before_anything_starts(text: str):
    """One line that names the option; the target has not run."""
    with pytest.raises(SpecError, match="--ready"):
        parse_probe(text, "--ready", lambda *_: ())


def test_it_cannot_be_a_live_probe():
    """What was logged once says nothing of today."""
    for option in ("--live", "--probe"):
        done = run(option, "log:x", "--", "true")
        assert done.returncode == 2
        assert "--ready" in done.stderr


def test_ready_is_said_when_the_line_has_come_and_not_before(inbox_at: Inbox):
    """The whole way: the pipe, the line, READY=1."""
    command = target("told", "tcp", "0")
    with Wrapped(command, "--ready", "log:^listening [0-9]+$", inbox=inbox_at) as wrapper:
        assert wrapper.line() == "started"
        wrapper.tell("hear")
        assert wrapper.line() == "hear"
        assert not any("READY" in message for message in inbox_at.drain())
        wrapper.tell("listen")
        assert wrapper.line().startswith("listening ")
        assert inbox_at.wait("READY")["READY"] == "1"
        wrapper.tell("exit 7")
        assert wrapper.end() == 7


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"ready\\r\\n", id="carriage return"),
        pytest.param(b"x" * 20000 + b" ready\\n", id="behind what is looked at in one piece"),
        pytest.param(b"\\xff\\xfe\\0\\nready\\n", id="after what is no text"),
    ],
)
def test_the_line_is_found_whatever_surrounds_it(inbox_at: Inbox, line: bytes):
    """Logs hold all sorts of things; `$` is the end of a line."""
    words = ["printf", "%b", line.decode()]
    command = ["sh", "-c", '"$@" >&2; read x', "sh", *words]
    with Wrapped(command, "--ready", r"log:\bready$", inbox=inbox_at):
        assert inbox_at.wait("READY")["READY"] == "1"


def test_a_line_is_one_although_it_comes_in_pieces(inbox_at: Inbox):
    """A write may end anywhere, a pipe's read too."""
    command = ["sh", "-c", "printf 'rea'; read x; printf 'dy\\n'; read x"]
    with Wrapped(command, "--ready", "log:^ready$", inbox=inbox_at) as wrapper:
        wrapper.tell("")
        assert inbox_at.wait("READY")["READY"] == "1"
        assert wrapper.line() == "ready"


def test_a_log_and_another_probe_are_both_needed(inbox_at: Inbox):
    """All ready probes must pass: the line came long before the socket."""
    options = ("--ready", "log:^started$", "--ready", "log:^listening", "--timeout", "50ms")
    with Wrapped(target("told", "tcp", "0"), *options, inbox=inbox_at) as wrapper:
        assert wrapper.line() == "started"
        assert "log:^listening" in inbox_at.wait("STATUS", "matched")["STATUS"]
        wrapper.tell("listen")
        assert inbox_at.wait("READY")["READY"] == "1"


@pytest.fixture
def inbox_at(tmp_path: Path) -> Iterator[Inbox]:
    """A socket for NOTIFY_SOCKET that somebody reads."""
    inbox = Inbox(tmp_path / "notify")
    yield inbox
    inbox.close()
