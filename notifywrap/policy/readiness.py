"""The ready probes of one activation or reload: which have passed, which is tried when, what is
still missing."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.discovery import Discovery
from notifywrap.policy.events import CloseAttempt, OpenAttempt, Outcome
from notifywrap.policy.spec import LOOKUP_PACE, DiscoverProbe, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.events import Action, Sample
    from notifywrap.policy.spec import Probe

__all__ = ["Readiness", "Slot"]


class Slot:
    """One ready probe and where it stands: untried, in flight (`attempt` is its number), failed or
    passed."""

    __slots__ = ("attempt", "next_at", "passed", "probe", "reason")

    def __init__(self, probe: Probe, now: float) -> None:
        self.probe = probe
        self.attempt = 0
        self.next_at = now
        self.passed = False
        self.reason = ""


class Readiness:
    """Tries every probe until it has passed once.

    probes     what must pass; a DiscoverProbe stands for a probe of each socket that it finds
    number     gives the number of the next attempt, never 0
    timeout_s  how long one attempt may take
    """

    def __init__(
        self, probes: tuple[Probe, ...], now: float, timeout_s: float, number: Callable[[], int]
    ) -> None:
        self.started = now
        self.timeout_s = timeout_s
        self.number = number
        self.slots = [Slot(probe, now) for probe in probes]
        self.discovery: Discovery | None = None
        if any(type(probe) is DiscoverProbe for probe in probes):
            self.discovery = Discovery(now)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """What is tried now: the probes that were asked for, or those of the sockets that were
        found."""
        return tuple(slot.probe for slot in self.slots if type(slot.probe) is not DiscoverProbe)

    @property
    def is_done(self) -> bool:
        """Has every probe passed?"""
        tried = [slot for slot in self.slots if type(slot.probe) is not DiscoverProbe]
        return all(slot.passed for slot in tried) and (self.discovery is None or bool(tried))

    @property
    def missing(self) -> list[Slot]:
        """The probes that have not passed yet."""
        return [slot for slot in self.slots if not slot.passed]

    def next_deadline(self) -> float | None:
        """When the next attempt is due; None while all that is missing is in flight."""
        return min((s.next_at for s in self.slots if not s.passed and not s.attempt), default=None)

    def open_due(self, now: float) -> list[Action]:
        """Start every attempt whose moment has come."""
        actions: list[Action] = []
        for slot in self.slots:
            if not slot.passed and not slot.attempt and slot.next_at <= now:
                slot.attempt = self.number()
                actions.append(OpenAttempt(slot.attempt, slot.probe, self.timeout_s))
        return actions

    def record(self, attempt: int, sample: Sample, now: float) -> list[Action]:
        """Note the result of an attempt; one that was given up meanwhile changes nothing."""
        slot = next((slot for slot in self.slots if slot.attempt == attempt), None)
        if slot is None:
            return []
        slot.attempt = 0
        pace = LOOKUP_PACE if sample.unheard else kind_of(slot.probe).pace
        slot.next_at = now + pace.interval_s(now - self.started)
        slot.reason = sample.reason
        if self.discovery is not None and type(slot.probe) is DiscoverProbe:
            return self._follow(self.discovery, sample, now)
        slot.passed = sample.outcome is Outcome.PASSED
        return []

    def _follow(self, discovery: Discovery, sample: Sample, now: float) -> list[Action]:
        """Try the sockets once their set has settled; start over when it changes."""
        before = discovery.found
        discovery.record(sample.found, now)
        actions: list[Action] = []
        if discovery.found != before:
            actions = self._drop(
                lambda slot: type(slot.probe) is not DiscoverProbe and slot.probe in before
            )
        known = {slot.probe for slot in self.slots}
        if discovery.is_settled(now):
            self.slots += [Slot(probe, now) for probe in discovery.found if probe not in known]
        return actions

    def _drop(self, is_doomed: Callable[[Slot], bool]) -> list[Action]:
        doomed = [slot for slot in self.slots if is_doomed(slot)]
        self.slots = [slot for slot in self.slots if slot not in doomed]
        return [CloseAttempt(slot.attempt) for slot in doomed if slot.attempt]

    def close(self) -> list[Action]:
        """Give up what is in flight."""
        actions: list[Action] = [CloseAttempt(slot.attempt) for slot in self.slots if slot.attempt]
        for slot in self.slots:
            slot.attempt = 0
        return actions
