"""The attempts in flight: advanced when their descriptor or moment comes, and timed out here, not
in the probe."""

from __future__ import annotations

import time

from notifywrap import probes
from notifywrap.lean import TYPE_CHECKING, signal
from notifywrap.policy.events import Outcome, Sample, Sampled
from notifywrap.policy.starvation import Hindrance, find_excuse
from notifywrap.probes.alive import find_tracer
from notifywrap.runtime.lastwords import leave_word, take_back
from notifywrap.runtime.pressure import Pressure

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.events import OpenAttempt
    from notifywrap.probes import Attempt
    from notifywrap.probes.target import Target
    from notifywrap.runtime.loop import Loop
    from notifywrap.runtime.pressure import Counters

__all__ = ["Attempts"]


class Running:
    """One attempt in flight, or at rest until it is made again."""

    __slots__ = (
        "action",
        "attempt",
        "before",
        "began",
        "deadline",
        "fd",
        "last_words",
        "late_s",
        "looks_until",
        "number",
        "rests",
        "wake_at",
        "wants",
    )

    def __init__(self, action: OpenAttempt, attempt: Attempt, now: float) -> None:
        self.action = action
        self.number = action.attempt
        self.begin(attempt, now)

    def begin(self, attempt: Attempt, now: float) -> None:
        """Nothing has come of it yet."""
        self.attempt = attempt
        self.began = now
        self.deadline = now + self.action.timeout_s
        self.rests = False
        again = self.action.again
        self.looks_until = now if again is None else now + again.looks_s
        self.wake_at: float | None = None
        self.before: Counters | None = None
        self.late_s = 0.0
        # A command that hangs must not outlive us: nobody else would ever end it.
        self.last_words = leave_word(-attempt.pid, signal.SIGKILL) if attempt.pid else ()
        self.fd = -1
        self.wants = 0


class Attempts:
    """Opens, drives and closes attempts; reports each one's end as a Sampled event to *report*."""

    def __init__(self, loop: Loop, target: Target, report: Callable[[Sampled], None]) -> None:
        self._loop = loop
        self._target = target
        self._report = report
        self._running: dict[int, Running] = {}
        self._pressure = Pressure()

    def next_deadline(self) -> float | None:
        """The earliest moment at which an attempt wants to be woken or times out."""
        first = None
        for running in self._running.values():
            moment = running.deadline
            if running.wake_at is not None and (running.rests or running.wake_at < moment):
                moment = running.wake_at
            if first is None or moment < first:
                first = moment
        return first

    def open(self, action: OpenAttempt, now: float) -> None:
        """Start an attempt. It may end at once."""
        attempt = probes.open_attempt(action.probe, self._target)
        running = Running(action, attempt, now)
        self._running[action.attempt] = running
        self._go(running)

    def _go(self, running: Running) -> None:
        self._advance(running)
        if running.number in self._running and not running.rests:
            running.before = self._pressure.read()  # what is over already needs no excuse

    def close(self, number: int) -> None:
        """Give an attempt up. Nothing happens when it has ended."""
        running = self._running.pop(number, None)
        if running is not None:
            self._unwatch(running)
            take_back(running.last_words)
            running.attempt.close()

    def close_all(self) -> None:
        """Give every attempt up."""
        for number in list(self._running):
            self.close(number)

    def wake(self, now: float, late_s: float) -> None:
        """Advance what wanted to be woken by now, time out what has had its time."""
        for running in list(self._running.values()):
            if running.rests:
                if running.wake_at is not None and running.wake_at <= now:
                    self._look(running, now)
                continue
            running.late_s = max(running.late_s, late_s)
            if running.wake_at is not None and running.wake_at <= now:
                running.wake_at = None
                self._advance(running)
            if running.deadline <= now and running.number in self._running:
                self._time_out(running, now)

    def reaped(self, pid: int, status: int) -> None:
        """A child that is not the target has been reaped: an exec probe, or somebody's orphan."""
        for running in list(self._running.values()):
            if running.attempt.pid == pid:
                running.attempt.reaped(status)
                self._advance(running)

    def _advance(self, running: Running) -> None:
        if running.number not in self._running:
            return  # given up by what an earlier call of this turn led to
        sample = running.attempt.advance()
        if sample is not None:
            self._end(running, sample, time.monotonic())
            return
        wake_after_s = running.attempt.wake_after_s
        running.wake_at = None if wake_after_s is None else time.monotonic() + wake_after_s
        fd, wants = running.attempt.fileno(), running.attempt.wants
        if (fd, wants) != (running.fd, running.wants):
            self._unwatch(running)
            if fd >= 0 and wants:
                running.fd, running.wants = fd, wants
                self._loop.watch(fd, wants, lambda: self._advance(running))

    def _look(self, running: Running, now: float) -> None:
        """Make an attempt again that has found nobody; it rests on while a look finds nobody."""
        again = running.action.again
        assert again is not None, "nothing else rests"
        if now < running.looks_until and running.attempt.is_still_unheard():
            running.wake_at = now + again.pace.interval_s(now - again.since)
        else:
            running.begin(probes.open_attempt(running.action.probe, self._target), now)
            self._go(running)

    def _time_out(self, running: Running, now: float) -> None:
        # What woke us late may have kept us from an answer that is already here: look once more.
        # It may be late for this one alone: a poll(2) that has descriptors tells of no delay.
        running.late_s = max(running.late_s, now - running.deadline)
        self._end(running, running.attempt.advance() or running.attempt.overdue(), now)

    def _end(self, running: Running, sample: Sample, now: float) -> None:
        again = running.action.again
        if again is not None and sample.unheard and sample.reason == again.reason:
            self._unwatch(running)
            running.attempt.close()
            running.rests = True
            self._pressure.read()  # its files are opened now, and not between listen() and READY=1
            running.wake_at = now + again.pace.interval_s(now - again.since)
            return
        self.close(running.number)
        excuse = self._excuse(running, now) if sample.outcome is Outcome.TIMED_OUT else ""
        self._report(Sampled(running.number, sample, excuse))

    def _excuse(self, running: Running, now: float) -> str:
        """Why an attempt that nobody answered proves nothing; "" when it does."""
        before, hindrance = running.before, Hindrance()
        if before is not None:
            hindrance = before.until(self._pressure.read())
        tracer = find_tracer(self._target.pid)
        hindrance = hindrance._replace(late_s=running.late_s, tracer=tracer)
        return find_excuse(now - running.began, hindrance)

    def _unwatch(self, running: Running) -> None:
        if running.fd >= 0:
            self._loop.forget(running.fd)
            running.fd, running.wants = -1, 0
