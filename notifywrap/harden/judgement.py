"""Is a round as good as the baseline? What is worse is said, in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.harden.model import Observation

__all__ = ["Reason", "compare", "normalise", "tidy", "widen"]

# For figures that vary by themselves: a factor, and a difference below which no factor counts.
# Wide, because a directive that slows a service does so by far: the short queue of ProcSubset=pid
# took a connect from 16 to 1039 ms, and a retry waits for a second or more.
_LATENCY = (3.0, 0.2)
_READY = (3.0, 3.0)  # without AF_NETLINK notifywrap itself finds sockets a second later
_EXERCISE = (3.0, 1.0)
_MEMORY = (1.5, 20e6)
_THREADS = (0.5, 3)  # half of them gone: workers that could not be started

# What differs between two runs that are the same.
_VARIABLE = (
    (re.compile(r"notifywrap-harden-[0-9a-f]+(-\d+)?"), "UNIT"),
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"\d{4}[-/]\d\d[-/]\d\d"), "DATE"),
    (re.compile(r"\b\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]\d\d:?\d\d)?"), "TIME"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b[0-9a-fA-F]{8,}\b"), "HEX"),
    (re.compile(r"\d+(\.\d+)?"), "N"),
    (re.compile(r"\s+"), " "),
)

# A complaint that a busy machine may cause (juicefs: "The latency to database is too high").
_ABOUT_TIME = re.compile(
    r"(?i)\b(latency|slow(ly|er)?|late|delay(ed)?|took|time[d-]? ?out|deadline)\b"
)

_OF_THE_RUN = (
    (re.compile(r"notifywrap-harden-[0-9a-f]+(-copy-\d+)?"), "COPY"),
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (
        re.compile(
            r"\[?(\d{4}[-/]\d\d[-/]\d\d[T ])?\d\d:\d\d:\d\d([.,]\d+)?"
            r" ?(Z|[+-]\d\d:?\d\d|[A-Z]{3,4})?\]?"
        ),
        "",
    ),
    (re.compile(r"\[\d+\]|\b\d+#\d+:|\bpid[ =:]*\d+"), ""),
    (re.compile(r"\s+"), " "),
)


class Reason(NamedTuple):
    """One way in which a round was worse.

    text      the same whenever it is seen, so that the result is
    is_hard   it cannot be chance; other reasons count when they are seen twice
    figures   what was measured
    is_timed  it is about time, of which a busy machine has less
    """

    text: str
    is_hard: bool = True
    figures: str = ""
    is_timed: bool = False

    @property
    def full(self) -> str:
        """For who watches."""
        return f"{self.text} ({self.figures})" if self.figures else self.text


def compare(baseline: Observation, seen: Observation) -> tuple[Reason, ...]:
    """Every way in which *seen* is worse than *baseline*; () when it is as good."""
    if seen.error:
        denied = [line for line in seen.denied if line not in seen.error]
        return (Reason(tidy(seen.error + (f" ({denied[0]})" if denied else ""))),)
    found = [*_exercised(baseline, seen), *_backlogs(baseline, seen), *_warned(baseline, seen)]
    return (*found, *_slower(baseline, seen), *_changed(baseline, seen))


def widen(baseline: Observation, other: Observation) -> Observation:
    """*baseline* with times as long as those of another run of the same, and its complaints: what
    varies by itself is nobody's doing."""
    if other.error:
        return baseline
    exercised = tuple(
        was._replace(duration_s=max(was.duration_s, now.duration_s))
        for was, now in zip(baseline.exercised, other.exercised, strict=True)
    )
    burst = (max(both) for both in zip(baseline.burst_s, other.burst_s, strict=False))
    return baseline._replace(
        exercised=exercised,
        ready_s=max(baseline.ready_s, other.ready_s),
        burst_s=tuple(burst),
        burst_lost=max(baseline.burst_lost, other.burst_lost),
        warnings=baseline.warnings + other.warnings,
    )


def tidy(line: str) -> str:
    """A log line for people, without what is another at each run: times, pids, names of ours."""
    for pattern, word in _OF_THE_RUN:
        line = pattern.sub(word, line)
    return line.strip()


def normalise(line: str) -> str:
    """A log line without what changes from run to run: times, numbers, names of ours."""
    for pattern, word in _VARIABLE:
        line = pattern.sub(word, line)
    return line.strip()


def _exercised(baseline: Observation, seen: Observation) -> Iterator[Reason]:
    for was, now in zip(baseline.exercised, seen.exercised, strict=False):
        if now.status != was.status:
            said = f": {tidy(now.last_line)}" if now.last_line else ""
            yield Reason(f"exercise {now.command!r} ended with {now.status}{said}")
        elif _exceeds(now.duration_s, was.duration_s, _EXERCISE):
            took = f"{now.duration_s:.2f} s instead of {was.duration_s:.2f} s"
            text = f"exercise {now.command!r} took much longer"
            yield Reason(text, is_hard=False, figures=took, is_timed=True)


def _backlogs(baseline: Observation, seen: Observation) -> Iterator[Reason]:
    lengths = dict(seen.backlogs)
    for address, was in baseline.backlogs:
        if address not in lengths:
            yield Reason(f"nobody listens on {address} any more")
        elif lengths[address] < was:
            now = lengths[address]
            yield Reason(f"the queue of {address} is {now} connections long instead of {was}")
    if seen.burst_lost > baseline.burst_lost:
        lost = f"{seen.burst_lost} instead of {baseline.burst_lost}"
        yield Reason("connections of a burst were lost", is_hard=False, figures=lost, is_timed=True)


def _warned(baseline: Observation, seen: Observation) -> Iterator[Reason]:
    known = {normalise(line) for line in baseline.warnings}
    for line in dict.fromkeys(seen.warnings):
        if normalise(line) not in known:
            is_timed = _ABOUT_TIME.search(line) is not None
            said = f"its log says: {tidy(line)}"
            yield Reason(said, is_hard=not is_timed, is_timed=is_timed)


def _slower(baseline: Observation, seen: Observation) -> Iterator[Reason]:
    for what, was, now in zip(("median", "worst"), baseline.burst_s, seen.burst_s, strict=False):
        if _exceeds(now, was, _LATENCY):
            took = f"{now * 1e3:.0f} ms instead of {was * 1e3:.0f} ms"
            text = f"the {what} connection of a burst took much longer"
            yield Reason(text, is_hard=False, figures=took, is_timed=True)
    if _exceeds(seen.ready_s, baseline.ready_s, _READY):
        took = f"{seen.ready_s:.1f} s instead of {baseline.ready_s:.1f} s"
        yield Reason("it was ready much later", is_hard=False, figures=took, is_timed=True)


def _changed(baseline: Observation, seen: Observation) -> Iterator[Reason]:
    share, least = _THREADS
    lost = baseline.threads - seen.threads
    if lost >= least and seen.threads < share * baseline.threads:
        counts = f"{seen.threads} instead of {baseline.threads}"
        yield Reason("it has lost threads", is_hard=False, figures=counts)
    if _exceeds(seen.rss_bytes, baseline.rss_bytes, _MEMORY):
        sizes = f"{seen.rss_bytes / 1e6:.0f} MB instead of {baseline.rss_bytes / 1e6:.0f} MB"
        yield Reason("it takes much more memory", is_hard=False, figures=sizes)


def _exceeds(now: float, was: float, limit: tuple[float, float]) -> bool:
    factor, difference = limit
    return now > factor * was and now > was + difference
