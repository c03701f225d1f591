"""When the sockets of a target that nobody described have settled enough to be believed."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from notifywrap.policy.spec import Probe

__all__ = ["Discovery"]

# A server opens its ports one after the other: an admin port may come a second before the one that
# matters.
QUIET_LEAST_S = 0.250
QUIET_SHARE = 0.10


class Discovery:
    """Watches the set of sockets that the target listens on, until it stops changing.

    started  when the target was started, the zero of "time waited"
    """

    def __init__(self, started: float) -> None:
        self.started = started
        self.found: tuple[Probe, ...] = ()
        self.changed_at = started

    def record(self, found: tuple[Probe, ...], now: float) -> None:
        """Note what the target listens on now."""
        if found != self.found:
            self.found = found
            self.changed_at = now

    def is_settled(self, now: float) -> bool:
        """Has a non-empty set stayed the same for max(250 ms, 10 % of the time waited)?"""
        quiet_s = max(QUIET_LEAST_S, QUIET_SHARE * (self.changed_at - self.started))
        return bool(self.found) and now - self.changed_at >= quiet_s
