"""Datagrams on their way to systemd: in order, and retried for as long as each is worth it."""

from __future__ import annotations

from notifywrap.errors import NotifyError
from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.protocol.wire import build

if TYPE_CHECKING:
    from collections.abc import Iterable

    from notifywrap.policy.events import Notify
    from notifywrap.protocol.notify import Notifier

__all__ = ["Outbox", "close_all"]

# From the first to the last: a busy PID 1 has room again within milliseconds, one that is gone may
# stay so, and W/4 is 250 ms where W is as short as anyone sets it.
RETRY_S = 0.010
LAST_RETRY_S = 0.100
# What may wait before nobody should add to it whose messages can wait as well. Descriptors count
# for themselves: 1024 are all that a process has by default, and the probes need theirs.
MANY, MANY_FDS = 32, 64


class Outbox:
    """Sends at once when it can. systemd's socket may be full while PID 1 is busy.

    notifier  None where there is no systemd to tell
    """

    def __init__(self, notifier: Notifier | None) -> None:
        self._notifier = notifier
        # (datagram, moment after which it is stale, file descriptors to go with it)
        self._waiting: list[tuple[bytes, float | None, tuple[int, ...]]] = []
        self._retry_at: float | None = None
        self._retry_s = RETRY_S
        self.trouble = ""  # why systemd cannot be told at all; the supervisor says it once

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits that what is not our own should not be added to it."""
        return bool(self._waiting) and (
            len(self._waiting) >= MANY or sum(len(fds) for _, _, fds in self._waiting) >= MANY_FDS
        )

    def next_deadline(self) -> float | None:
        """When to call `flush()` again."""
        return self._retry_at

    def put(self, notify: Notify, now: float) -> None:
        """Send *notify* after all that waits already, now if possible.

        Its file descriptors are closed here: once sent or given up.
        """
        if self._notifier is None:
            close_all(notify.fds)
            return
        try:
            datagram = build(notify.assignments)
        except NotifyError as error:  # what the target made us say must not be the end of it
            self.trouble = str(error)
            close_all(notify.fds)
            return
        stale_at = None if notify.lasts_s is None else now + notify.lasts_s
        self._waiting.append((datagram, stale_at, notify.fds))
        if self._retry_at is None:
            self.flush(now)

    def flush(self, now: float) -> None:
        """Send what can be sent; what is stale is dropped."""
        assert self._notifier is not None, "nothing is put where nobody is told"
        self._retry_at = None
        while self._waiting:
            datagram, stale_at, fds = self._waiting[0]
            try:
                sent = self._notifier.send(datagram, fds)
                if not sent and (stale_at is None or now < stale_at):
                    self._retry_at = now + self._retry_s
                    self._retry_s = min(self._retry_s * 2, LAST_RETRY_S)
                    self._drop_stale(now)
                    return
                self._retry_s = RETRY_S
            except NotifyError as error:
                self.trouble = str(error)  # the target is well all the same: never stop it for this
            del self._waiting[0]
            close_all(fds)

    def close(self) -> None:
        """Give up what waits still."""
        for _, _, fds in self._waiting:
            close_all(fds)
        self._waiting, self._retry_at = [], None

    def _drop_stale(self, now: float) -> None:
        """What would be too late anyway does not pile up behind what must be sent."""
        fresh = []
        for waiting in self._waiting:
            if waiting[1] is None or now < waiting[1]:
                fresh.append(waiting)
            else:
                close_all(waiting[2])
        self._waiting = fresh


def close_all(fds: Iterable[int]) -> None:
    """Close file descriptors that came with a message."""
    for fd in fds:
        os.close(fd)
