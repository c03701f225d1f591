"""What counts as worse, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from notifywrap.harden.judgement import compare, normalise, tidy, widen
from notifywrap.harden.model import Exercised, Observation

GET = Exercised("curl -f http://localhost/", 0, 0.05, "")
BASELINE = Observation(
    ready_s=0.4,
    backlogs=(("0.0.0.0:80", 4096), ("[::]:443", 4096)),
    warnings=("2026-11-24 10:11:12 WARN no cache, pid 812",),
    threads=9,
    rss_bytes=80_000_000,
    burst_s=(0.004, 0.016),
    exercised=(GET,),
)


def seen(**changes: Any) -> Observation:
    return BASELINE._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"error": "it does not start: 203/EXEC: its program cannot be executed"}, "203/EXEC"),
        ({"error": "killed", "denied": ("open /x: permission denied",)}, "(open /x: permission"),
        (
            {"exercised": (GET._replace(status=22, last_line="404"),)},
            "exercise 'curl -f http://localhost/' ended with 22: 404",
        ),
        (
            {"backlogs": (("0.0.0.0:80", 128), ("[::]:443", 4096))},
            "the queue of 0.0.0.0:80 is 128 connections long instead of 4096",
        ),
        ({"backlogs": BASELINE.backlogs[:1]}, "nobody listens on [::]:443 any more"),
        ({"warnings": ("ERR cannot obtain certificate",)}, "its log says: ERR cannot obtain"),
    ],
    ids=["failed", "denied", "exercise", "backlog", "listener", "warning"],
)
def test_what_cannot_be_chance_counts_at_once(changes: dict[str, Any], said: str) -> None:
    """Each way of getting silently worse: the service is ready, and its probes pass."""
    (reason,) = compare(BASELINE, seen(**changes))
    assert said in reason.text
    assert reason.is_hard


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"burst_s": (1.039, 1.2)},
            "the median connection of a burst took much longer (1039 ms instead of 4 ms)",
        ),
        (
            {"burst_s": (0.004, 1.2)},
            "the worst connection of a burst took much longer (1200 ms instead of 16 ms)",
        ),
        ({"burst_lost": 3}, "connections of a burst were lost (3 instead of 0)"),
        ({"ready_s": 9.0}, "ready much later (9.0 s instead of 0.4 s)"),
        ({"threads": 2}, "lost threads (2 instead of 9)"),
        ({"rss_bytes": 300_000_000}, "more memory (300 MB instead of 80 MB)"),
        (
            {"exercised": (GET._replace(duration_s=4.0),)},
            "took much longer (4.00 s instead of 0.05 s)",
        ),
    ],
    ids=["median", "worst", "lost", "ready", "threads", "memory", "exercise"],
)
def test_what_a_busy_machine_does_as_well_is_looked_at_twice(
    changes: dict[str, Any], said: str
) -> None:
    reasons = compare(BASELINE, seen(**changes))
    assert any(said in each.full for each in reasons)
    assert not any(char.isdigit() for each in reasons for char in each.text), "it would vary"
    assert not any(each.is_hard for each in reasons)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"warnings": ("2026-11-25 01:02:03 WARN no cache, pid 9",)},
        {"warnings": ()},
        {"burst_s": (0.011, 0.09)},
        {"ready_s": 0.7, "threads": 7, "rss_bytes": 95_000_000},
        {"exercised": (GET._replace(duration_s=0.4),)},
        {"backlogs": (("0.0.0.0:80", 8192), ("[::]:443", 4096), ("127.0.0.1:99", 5))},
    ],
    ids=["same", "known-warning", "no-warning", "latency", "small", "exercise", "more"],
)
def test_what_is_as_good_or_better_is_no_reason(changes: dict[str, Any]) -> None:
    assert compare(BASELINE, seen(**changes)) == ()


def test_what_varies_by_itself_is_no_reason() -> None:
    """A certificate is issued in half a second or in five, whatever the sandbox."""
    slow = seen(exercised=(GET._replace(duration_s=5.0),), burst_s=(0.004, 1.2), ready_s=9.0)
    assert compare(BASELINE, slow)
    assert compare(widen(BASELINE, slow), slow) == ()
    assert compare(widen(slow, BASELINE), slow) == ()
    assert widen(BASELINE, seen(error="it does not start", exercised=())) == BASELINE


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("2026-11-24T10:11:12.123Z WRN retry", "2026-11-25T00:00:00.9Z WRN retry"),
        ("level=warn pid=12 port=4711", "level=warn pid=99 port=80"),
        ("notifywrap-harden-0a1b2c3d: failed", "notifywrap-harden-ffffffff: failed"),
        ("panic at 0xdeadbeef", "panic at 0x1234abcd"),
        ("\x1b[31mERR\x1b[0m took 1.5s", "ERR took 30s"),
    ],
)
def test_lines_that_say_the_same_are_the_same(line: str, other: str) -> None:
    """Else every round would have new warnings."""
    assert normalise(line) == normalise(other)


def test_lines_that_say_something_else_are_not() -> None:
    assert normalise("WRN cannot read /etc/a") != normalise("WRN cannot read /etc/b")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[2026-11-28 13:24:35 +0000] [1187] [ERROR] no [Errno 30]", "[ERROR] no [Errno 30]"),
        (
            "2026/11/28 13:24:20 [emerg] 962#962: bind() to :80 failed",
            "[emerg] bind() to :80 failed",
        ),
        ("2026-11-24T10:11:12.123Z WRN retry of 127.0.0.1:80", "WRN retry of 127.0.0.1:80"),
        ("/var/lib/notifywrap-harden-0a1b2c3d/x: no such file", "/var/lib/COPY/x: no such file"),
    ],
)
def test_a_line_is_shown_without_what_differs_from_run_to_run(line: str, said: str) -> None:
    """It ends up in the drop-in, which has to be the same for the same service."""
    assert tidy(line) == said


def test_a_complaint_about_time_may_be_the_machines_fault():
    """Where what is kept alone complains as well, no directive is to blame."""
    line = "WARNING: The latency to database is too high: 8.1ms"
    (reason,) = compare(BASELINE, BASELINE._replace(warnings=(line,)))
    assert (reason.is_hard, reason.is_timed) == (False, True)
    wider = widen(BASELINE, BASELINE._replace(warnings=(line,)))
    later = "WARNING: The latency to database is too high: 9.7ms"
    assert compare(wider, BASELINE._replace(warnings=(later,))) == ()
