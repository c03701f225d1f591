"""A wake-up call between threads, that signal handlers and forked children may use as well."""

from __future__ import annotations

import threading

__all__ = ["Bell"]


class Bell:
    """wait() returns once somebody has called ring(), before or after; several rings are one.

    Not threading.Event: its inner lock is held for a moment by whoever uses it, and a signal
    handler that interrupts just then, or a child that is forked just then, waits for it for ever
    (tried). Nothing here waits but wait().
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake up who waits, or who will wait next."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # it rings already

    def wait(self, timeout_s: float = -1.0) -> bool:
        """Wait until it rings; False when *timeout_s* seconds have passed before. -1: for ever."""
        return self._lock.acquire(timeout=min(timeout_s, threading.TIMEOUT_MAX))
