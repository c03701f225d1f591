"""`--start-timeout`: how long systemd is kept waiting for READY=1, and when enough is enough."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import Notify

if TYPE_CHECKING:
    from notifywrap.policy.events import Action

__all__ = ["Patience"]

# EXTEND_TIMEOUT_USEC= is "not before this long from now" (sd_notify(3)): said three times as often
# as need be, two may get lost.
EXTEND_S = 30.0
EXTEND_EVERY_S = 10.0
MARGIN_S = 10.0  # for systemd, beyond the time in which we kill the target ourselves


class Patience:
    """Keeps systemd waiting until *limit_s* after the start; does nothing where that is None.

    ends_at  when the target has had its time; None for never
    """

    def __init__(self, limit_s: float | None, now: float) -> None:
        self.ends_at = None if limit_s is None else now + limit_s
        self._next_at = now

    def next_deadline(self) -> float | None:
        """When systemd must hear from us again, or the time is over."""
        return None if self.ends_at is None else min(self._next_at, self.ends_at)

    def is_over(self, now: float) -> bool:
        """Has the target had its time?"""
        return self.ends_at is not None and self.ends_at <= now

    def extend(self, now: float) -> list[Action]:
        """Ask systemd for more time, when that is due."""
        if self.ends_at is None or now < self._next_at:
            return []
        self._next_at = now + EXTEND_EVERY_S
        return [ask_for(EXTEND_S)]


def ask_for(length_s: float) -> Action:
    """Tell systemd not to lose patience within *length_s* seconds."""
    return Notify((("EXTEND_TIMEOUT_USEC", str(int(length_s * 1e6))),), EXTEND_EVERY_S)
