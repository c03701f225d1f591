"""Datagrams on their way to systemd: in order, and retried for as long as each is worth it."""

from __future__ import annotations

from notifywrap.errors import NotifyError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.protocol.wire import build

if TYPE_CHECKING:
    from notifywrap.policy.events import Notify
    from notifywrap.protocol.notify import Notifier

__all__ = ["Outbox"]

# From the first to the last: a busy PID 1 has room again within milliseconds, one that is gone may
# stay so, and W/4 is 250 ms where W is as short as anyone sets it.
RETRY_S = 0.010
LAST_RETRY_S = 0.100


class Outbox:
    """Sends at once when it can. systemd's socket may be full while PID 1 is busy.

    notifier  None where there is no systemd to tell
    """

    def __init__(self, notifier: Notifier | None) -> None:
        self._notifier = notifier
        self._waiting: list[
            tuple[bytes, float | None]
        ] = []  # (datagram, moment after which it is stale)
        self._retry_at: float | None = None
        self._retry_s = RETRY_S
        self.trouble = ""  # why systemd cannot be told at all; the supervisor says it once

    def next_deadline(self) -> float | None:
        """When to call `flush()` again."""
        return self._retry_at

    def put(self, notify: Notify, now: float) -> None:
        """Send *notify* after all that waits already, now if possible."""
        if self._notifier is None:
            return
        stale_at = None if notify.lasts_s is None else now + notify.lasts_s
        self._waiting.append((build(notify.assignments), stale_at))
        if self._retry_at is None:
            self.flush(now)

    def flush(self, now: float) -> None:
        """Send what can be sent; what is stale is dropped."""
        assert self._notifier is not None, "nothing is put where nobody is told"
        self._retry_at = None
        while self._waiting:
            datagram, stale_at = self._waiting[0]
            try:
                if not self._notifier.send(datagram) and (stale_at is None or now < stale_at):
                    self._retry_at = now + self._retry_s
                    self._retry_s = min(self._retry_s * 2, LAST_RETRY_S)
                    # What would be too late anyway does not pile up behind what must be sent.
                    self._waiting = [w for w in self._waiting if w[1] is None or now < w[1]]
                    return
                self._retry_s = RETRY_S
            except NotifyError as error:
                self.trouble = str(error)  # the target is well all the same: never stop it for this
            del self._waiting[0]
