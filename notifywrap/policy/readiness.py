"""The ready probes of one activation or reload: which have passed, which is tried when, what is
still missing."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, NamedTuple
from notifywrap.policy.discovery import Discovery, find_hint
from notifywrap.policy.events import Again, CloseAttempt, Level, OpenAttempt, Outcome, Say
from notifywrap.policy.probe import EXEC_PACE, LOOKUP_PACE, DiscoverProbe, NotifyProbe, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.events import Action, Sample
    from notifywrap.policy.probe import Hint, Pace, Probe

__all__ = ["Gate", "Readiness", "Slot"]

# A preset's guess at a socket gets this long; a daemon that is set up otherwise must not be down
# because of it.
HINT_PATIENCE_S = 2.0
# While the probes must keep passing: often enough to see a gap, not so often that it is a load.
STABLE_SHARE, STABLE_LEAST_S, STABLE_MOST_S = 1 / 20, 0.010, 1.0


class Gate(NamedTuple):
    """A probe that must pass before the others are tried, and how long one attempt may take."""

    probe: Probe
    timeout_s: float


class Slot:
    """One ready probe and where it stands: untried, in flight (`attempt` is its number), failed or
    passed.

    found      the discovered socket that it stands for, as its accept check; None if it was named
    hint       what a preset knows of that socket, for as long as that is believed
    passed_at  when it last passed
    again      how to go on while nobody listens; None where somebody did, or nobody has looked
    """

    __slots__ = (
        "again",
        "attempt",
        "found",
        "hint",
        "is_again",
        "next_at",
        "passed",
        "passed_at",
        "probe",
        "reason",
        "since",
    )

    def __init__(self, probe: Probe, now: float, found: Probe | None = None) -> None:
        self.probe = probe
        self.found = found
        self.hint: Hint | None = None
        self.again: Again | None = None
        self.attempt = 0
        self.since = self.next_at = self.passed_at = now
        self.passed = False
        self.is_again = False  # it has passed, and is tried again to see whether it keeps passing
        self.reason = "it has not said READY=1" if type(probe) is NotifyProbe else ""

    @property
    def live(self) -> Probe:
        """What goes with it in live rounds, for a discovered socket."""
        return self.hint.live if self.hint is not None else self.found or self.probe


class Readiness:
    """Tries every probe until it has passed once, or has kept passing for *stable_s*.

    probes     what must pass; a DiscoverProbe stands for a probe of each socket that it finds, a
               NotifyProbe is not tried but heard of
    number     gives the number of the next attempt, never 0
    timeout_s  how long one attempt may take
    gate       must pass before anything else is tried; a reload's signal or command
    """

    def __init__(
        self,
        probes: tuple[Probe, ...],
        now: float,
        timeout_s: float,
        number: Callable[[], int],
        stable_s: float = 0.0,
        gate: Gate | None = None,
    ) -> None:
        self.started = now
        self.timeout_s = timeout_s
        self.number = number
        self.stable_s = stable_s
        self.stable_since: float | None = None
        self.pace: Pace | None = None  # instead of each kind's own
        self.gate = None if gate is None else Slot(gate.probe, now)
        self.gate_timeout_s = 0.0 if gate is None else gate.timeout_s
        self.slots = [Slot(probe, now) for probe in probes]
        self.discovery: Discovery | None = None
        for probe in probes:
            if isinstance(probe, DiscoverProbe):
                self.discovery = Discovery(now, probe.hints)

    @property
    def found(self) -> tuple[Probe, ...]:
        """What to watch of the sockets that were found."""
        return tuple(slot.live for slot in self.slots if slot.found is not None)

    @property
    def is_done(self) -> bool:
        """Has every probe passed, for as long as it was asked to?"""
        if self.gate is not None and not self.gate.passed:
            return False
        tried = self._tried
        if not all(slot.passed for slot in tried):
            return False
        if self.discovery is not None and not self.found:  # its own word names none of its sockets
            return False
        since = self.stable_since
        return not self._keeps_trying or all(
            since is not None and slot.passed_at - since >= self.stable_s
            for slot in tried
            if _is_tried_again(slot)
        )

    @property
    def _tried(self) -> list[Slot]:
        return [slot for slot in self.slots if type(slot.probe) is not DiscoverProbe]

    @property
    def _keeps_trying(self) -> bool:
        return self.stable_s > 0 and any(_is_tried_again(slot) for slot in self._tried)

    @property
    def missing(self) -> list[Slot]:
        """The probes that have not passed yet."""
        if self.gate is not None and not self.gate.passed:
            return [self.gate]
        return [slot for slot in self.slots if not slot.passed]

    @property
    def _due(self) -> list[Slot]:
        """What is to be tried and not in flight."""
        if self.gate is not None and not self.gate.passed:
            return [self.gate] if not self.gate.attempt else []
        return [
            slot
            for slot in self.slots
            if not slot.attempt
            and (not slot.passed or slot.is_again)
            and type(slot.probe) is not NotifyProbe
        ]

    def next_deadline(self) -> float | None:
        """When the next attempt is due; None while all that is missing is in flight."""
        return min((slot.next_at for slot in self._due), default=None)

    def open_due(self, now: float) -> list[Action]:
        """Start every attempt whose moment has come."""
        actions: list[Action] = []
        for slot in self._due:
            if slot.next_at <= now:
                slot.attempt = self.number()
                timeout_s = self.gate_timeout_s if slot is self.gate else self.timeout_s
                actions.append(OpenAttempt(slot.attempt, slot.probe, timeout_s, slot.again))
        return actions

    def await_word(self, now: float) -> None:
        """The target's own READY=1 is needed as well, from now on."""
        if not any(type(slot.probe) is NotifyProbe for slot in self.slots):
            self.slots.append(Slot(NotifyProbe(), now))

    def hear_word(self, *, is_ready: bool) -> None:
        """The target says READY=1 itself, or takes that back."""
        for slot in self.slots:
            if type(slot.probe) is NotifyProbe:
                slot.passed = is_ready

    def record(self, attempt: int, sample: Sample, now: float) -> list[Action]:
        """Note the result of an attempt; one that was given up meanwhile changes nothing."""
        own = (*self.slots, self.gate) if self.gate is not None else self.slots
        slot = next((s for s in own if s is not None and s.attempt == attempt), None)
        if slot is None:
            return []
        slot.attempt = 0
        slot.reason = sample.reason
        pace = self.pace or (LOOKUP_PACE if sample.unheard else kind_of(slot.probe).pace)
        slot.next_at = now + pace.interval_s(now - self.started)
        slot.again = Again(pace, self.started, sample.reason) if sample.unheard else None
        if slot.hint is not None:  # a daemon may log each request that it does not understand
            slot.next_at = now + EXEC_PACE.interval_s(now - self.started)
            slot.again = None
        if self.discovery is not None and type(slot.probe) is DiscoverProbe:
            slot.again = None  # STATUS says after a while what may be wrong
            return self._follow(self.discovery, sample, now)
        slot.passed = sample.outcome is Outcome.PASSED
        if slot.passed:
            slot.passed_at = now
        elif slot.hint is not None and now - slot.since >= HINT_PATIENCE_S:
            return self._disbelieve(slot, now)
        if self.stable_s:
            self._note_stability(slot, now)
        return []

    def _note_stability(self, slot: Slot, now: float) -> None:
        """The time for which all must keep passing begins when the last one passes, and begins
        again when one does not."""
        if not all(other.passed for other in self._tried):
            self.stable_since = None
        elif self.stable_since is None and (self.gate is None or self.gate.passed):
            self.stable_since = now
            for other in self._tried:
                other.is_again = _is_tried_again(other)
                other.next_at = min(other.next_at, now)
        if self.stable_since is not None:
            interval_s = min(max(STABLE_SHARE * self.stable_s, STABLE_LEAST_S), STABLE_MOST_S)
            # The last one falls on the end itself.
            end = max(self.stable_since + self.stable_s, now)
            slot.next_at = min(now + interval_s, end) if end > now else now + interval_s

    def _disbelieve(self, slot: Slot, now: float) -> list[Action]:
        assert slot.found is not None, "only what was found has a hint"
        text = (
            f"the preset's {slot.probe.text} does not pass ({slot.reason}): going by whether"
            f" {slot.found.text} accepts connections; name the probe that matters with --probe"
        )
        slot.hint, slot.probe, slot.next_at = None, slot.found, now
        return [Say(Level.NOTICE, text)]

    def _follow(self, discovery: Discovery, sample: Sample, now: float) -> list[Action]:
        """Try the sockets once their set has settled; start over when it changes."""
        before = discovery.found
        discovery.record(sample, now)
        actions: list[Action] = []
        if discovery.found != before:
            actions = self._drop(before)
        if discovery.is_settled(now):
            known = {slot.found for slot in self.slots}
            self.slots += [
                self._expect(probe, discovery.hints, now)
                for probe in discovery.found
                if probe not in known
            ]
        return actions

    def _expect(self, found: Probe, hints: tuple[Hint, ...], now: float) -> Slot:
        slot = Slot(found, now, found)
        slot.hint = find_hint(found, hints)
        if slot.hint is not None:
            slot.probe = slot.hint.ready
        return slot

    def _drop(self, doomed: tuple[Probe, ...]) -> list[Action]:
        dropped = [slot for slot in self.slots if slot.found is not None and slot.found in doomed]
        self.slots = [slot for slot in self.slots if slot not in dropped]
        return [CloseAttempt(slot.attempt) for slot in dropped if slot.attempt]

    def close(self) -> list[Action]:
        """Give up what is in flight."""
        own = (*self.slots, self.gate) if self.gate is not None else (*self.slots,)
        actions: list[Action] = [CloseAttempt(slot.attempt) for slot in own if slot.attempt]
        for slot in own:
            slot.attempt = 0
        return actions


def _is_tried_again(slot: Slot) -> bool:
    return kind_of(slot.probe).repeatable and type(slot.probe) is not NotifyProbe
