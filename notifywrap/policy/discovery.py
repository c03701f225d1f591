"""When the sockets of a target that nobody described have settled enough to be believed."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import TcpProbe, UnixProbe

if TYPE_CHECKING:
    from notifywrap.policy.events import Sample
    from notifywrap.policy.probe import Hint, Probe

__all__ = ["QUIET_LEAST_S", "Discovery", "find_hint"]

# A server opens its ports one after the other: an admin port may come a second before the one that
# matters.
QUIET_LEAST_S = 0.250
QUIET_SHARE = 0.10


class Discovery:
    """Watches the set of sockets that the target listens on, until it stops changing.

    started  when the target was started, the zero of "time waited"
    hints    what a preset knows of sockets that may be found
    trouble  why they could not be seen at the last look; "" when they could
    """

    def __init__(self, started: float, hints: tuple[Hint, ...] = ()) -> None:
        self.started = started
        self.hints = hints
        self.found: tuple[Probe, ...] = ()
        self.changed_at = started
        self.trouble = ""

    def record(self, sample: Sample, now: float) -> None:
        """Note what the target listens on now."""
        can_see = sample.unheard or sample.outcome is Outcome.PASSED
        self.trouble = "" if can_see else sample.reason
        if sample.found != self.found:
            self.found = sample.found
            self.changed_at = now

    def is_settled(self, now: float) -> bool:
        """Has a non-empty set stayed the same for max(250 ms, 10 % of the time waited)?"""
        quiet_s = max(QUIET_LEAST_S, QUIET_SHARE * (self.changed_at - self.started))
        return bool(self.found) and now - self.changed_at >= quiet_s


def find_hint(found: Probe, hints: tuple[Hint, ...]) -> Hint | None:
    """What is known of this socket; None when nothing is."""
    for hint in hints:
        if isinstance(found, TcpProbe) and hint.port:
            if any(port == hint.port for _, port in found.addresses):
                return hint
        elif isinstance(found, UnixProbe) and hint.path == found.path:
            return hint
    return None
