"""One blocking wait for everything: file descriptors and the next deadline. No tick."""

from __future__ import annotations

import select
import time

from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Loop"]

LONGEST_S = 86400.0  # poll(2) takes 24 days at most; waking up once a day costs nothing


class Loop:
    """File descriptors with what to call when they are ready."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._calls: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, wants: int, call: Callable[[], None]) -> None:
        """Call *call* when *fd* is ready for *wants* (POLLIN, POLLOUT), or has failed. Replaces an
        earlier watch."""
        self._poll.register(fd, wants)
        self._calls[fd] = call

    def forget(self, fd: int) -> None:
        """Stop watching *fd*; call before it is closed. Nothing happens when it is not watched."""
        if self._calls.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def wait(self, deadline: float | None) -> float:
        """Wait until something is ready or *deadline* has come, and make the calls.

        Returns how late we woke up for the deadline, in seconds; 0.0 when something else woke us.
        """
        timeout_ms = None
        if deadline is not None:
            timeout_ms = min(max(0.0, deadline - time.monotonic()), LONGEST_S) * 1000
        ready = self._poll.poll(timeout_ms)
        for fd, _ in ready:
            call = self._calls.get(fd)
            if call is not None:  # an earlier call of this turn may have given it up
                call()
        if deadline is None or ready:
            return 0.0
        return max(0.0, time.monotonic() - deadline)
