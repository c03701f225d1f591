"""`--pidfile`: between the end of the process that was followed and the next one that is."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.probe import LOOKUP_PACE

if TYPE_CHECKING:
    from notifywrap.policy.exits import ExitStatus

__all__ = ["Succession"]

# gunicorn's new master writes its pid file when it sees, once a second, that the old one has gone.
# While starting there is no such limit: systemd has one.
LIMIT_S = 5.0


class Succession:
    """Looks into the pid file until it names a successor.

    status   how the one before ended: ours, if nobody follows
    ends_at  when to give up; None for as long as anybody of the tree is left
    unsent   signals that came meanwhile, for the successor
    """

    def __init__(self, status: ExitStatus, now: float) -> None:
        self.status = status
        self.began = now
        self.ends_at: float | None = None
        self.look_at = now
        self.unsent: list[int] = []

    def limit(self, now: float, length_s: float = LIMIT_S) -> None:
        """Do not look any longer than *length_s* from now."""
        ends_at = now + length_s
        self.ends_at = ends_at if self.ends_at is None else min(self.ends_at, ends_at)

    def next_deadline(self) -> float:
        """When to look again."""
        return self.look_at

    def is_over(self, now: float) -> bool:
        """Has nobody followed in time?"""
        return self.ends_at is not None and self.ends_at <= now

    def is_due(self, now: float) -> bool:
        """Look now? The next time then is a little later."""
        if now < self.look_at:
            return False
        self.look_at = now + LOOKUP_PACE.interval_s(now - self.began)
        return True
