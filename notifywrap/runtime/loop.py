"""One blocking wait for everything: file descriptors and the next deadline. No tick.

A Part is what some options add to it: the relay of the target's own messages, the pump for its
log, the socket for `notifywrap reload`.
"""

from __future__ import annotations

import select
import time

from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.events import Event
    from notifywrap.probes.target import Target

__all__ = ["Loop", "Part"]

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


class Part:
    """Something with file descriptors of its own that lives beside the attempts, for as long as the
    supervisor.

    attach() is called once, before the loop starts; close() in every case.
    """

    def attach(self, loop: Loop, put: Callable[[Event], None], target: Target) -> None:
        """The target runs: watch your descriptors in *loop*, *put* the events that come of them,
        and give *target* what its probes need of you."""
        raise NotImplementedError

    def next_deadline(self) -> float | None:
        """When to call `wake()`; None for never."""
        return None

    def wake(self, now: float) -> None:
        """A turn of the loop: do what is due by *now*."""

    def hold(self, *, is_crowded: bool) -> None:
        """So much waits for systemd that nothing should be added to it; or no longer so."""

    def drain(self) -> None:
        """The target has ended: take what it left behind and is still to be heard."""

    def answer(self, why: str, unheard: int) -> None:
        """A reload has ended; *why* is "" when the target is ready again.

        unheard  so many of the last ReloadAsked had not been handled when it ended: it is not
                 theirs
        """

    def close(self) -> None:
        """Close your descriptors. May be called again."""
