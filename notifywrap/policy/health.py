"""Live rounds: all live probes are tried at once, and the round is evidence only when every one of
them passes."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, Enum
from notifywrap.policy.events import CloseAttempt, OpenAttempt, Outcome
from notifywrap.policy.probe import AliveProbe, NotifyProbe, explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.events import Action, Sampled
    from notifywrap.policy.probe import Probe

__all__ = ["Health", "Verdict"]


class Verdict(Enum):
    """What the last finished round says of the target."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNDECIDED = (
        "undecided"  # only time-outs that the machine's starvation excuses, and grace is left
    )
    UNHEALTHY = "unhealthy"


class Health:
    """The live rounds of an active target.

    probes      what must pass in each round; that the target is alive is always among it
    period_s    from the start of one round to the start of the next
    timeout_s   how long one attempt may take
    grace_s     how long after the last evidence undecided rounds may count as healthy; 0 for not
                at all
    number      gives the number of the next attempt, never 0
    """

    def __init__(
        self,
        probes: tuple[Probe, ...],
        period_s: float,
        timeout_s: float,
        grace_s: float,
        number: Callable[[], int],
    ) -> None:
        self.probes: tuple[Probe, ...] = ()
        self.watch(probes)
        self.period_s = period_s
        self.timeout_s = timeout_s
        self.grace_s = grace_s
        self.number = number
        self.verdict = Verdict.UNKNOWN
        self.reason = ""
        self.streak = 0  # rounds in a row with this verdict
        self.passed_at = 0.0  # when the last round passed; the ready probes count as one
        self.next_round_at = 0.0
        self.in_flight: dict[int, Probe] = {}
        self.excuse = ""
        self.is_broken = False

    def watch(self, probes: tuple[Probe, ...]) -> None:
        """From the next round on, go by these probes; `alive` is part of every round.

        The target's own pings are no attempt: see policy/words.py.
        """
        tried = (probe for probe in probes if type(probe) not in (AliveProbe, NotifyProbe))
        self.probes = (AliveProbe(), *tried)

    def begin(self, now: float) -> None:
        """The first round is due a period from *now*: the ready probes are the evidence until
        then."""
        self.next_round_at = now + self.period_s
        self.passed_at = now

    def next_deadline(self) -> float | None:
        """When the next round is due; None while one is in flight."""
        return None if self.in_flight else self.next_round_at

    def open_due(self, now: float) -> list[Action]:
        """Start a round when it is due."""
        if self.in_flight or now < self.next_round_at:
            return []
        # From the start of this round, not from now plus what it takes: rounds must not drift
        # apart under load.
        # One that is late by a whole period is not made up for.
        due = self.next_round_at + self.period_s
        self.next_round_at = due if due > now else now + self.period_s
        self.excuse, self.is_broken = "", False
        self.in_flight = {self.number(): probe for probe in self.probes}
        return [
            OpenAttempt(number, probe, self.timeout_s) for number, probe in self.in_flight.items()
        ]

    def owns(self, attempt: int) -> bool:
        """Is this attempt part of the round in flight?"""
        return attempt in self.in_flight

    @property
    def round_is_over(self) -> bool:
        """Is there nothing in flight? After `record()`: was that the sample that ended the
        round?"""
        return not self.in_flight

    def record(self, event: Sampled, now: float) -> list[Action]:
        """Note a sample of this round; the last one, or the first that says no, gives the
        verdict."""
        probe = self.in_flight.pop(event.attempt)
        sample = event.sample
        if sample.outcome is not Outcome.PASSED:
            self.reason = explain(probe, sample.reason)
        if sample.outcome is Outcome.BROKEN:
            self.is_broken = True
        elif sample.outcome is Outcome.TIMED_OUT and event.excuse:
            self.excuse = event.excuse
        elif sample.outcome is not Outcome.PASSED:
            self._settle(Verdict.UNHEALTHY)
            return self.close()  # one that says no is enough: do not wait for the others
        if not self.in_flight:
            self._conclude(now)
        return []

    def _conclude(self, now: float) -> None:
        """The verdict of a round in which nothing said no."""
        if self.is_broken:
            # Neither evidence nor a verdict: no ping, and the next round follows soon, not a whole
            # period later.
            self.next_round_at = min(self.next_round_at, now + self.period_s / 4)
            self._settle(Verdict.UNKNOWN)
        elif self.excuse:
            # Counted from the last evidence: so a target that really hangs is acted on within twice
            # WatchdogSec, however late the first doubt came.
            has_grace = now - self.passed_at < self.grace_s
            self._settle(Verdict.UNDECIDED if has_grace else Verdict.UNHEALTHY)
        else:
            self.reason, self.passed_at = "", now
            self._settle(Verdict.HEALTHY)

    def _settle(self, verdict: Verdict) -> None:
        self.streak = self.streak + 1 if verdict is self.verdict else 1
        self.verdict = verdict

    def close(self) -> list[Action]:
        """Give up what is in flight."""
        actions: list[Action] = [CloseAttempt(number) for number in self.in_flight]
        self.in_flight = {}
        return actions
