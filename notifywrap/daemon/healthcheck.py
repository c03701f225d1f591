"""Asks a daemon's own health check, and is not stuck where that one is."""

from __future__ import annotations

import threading
import time

from notifywrap.daemon.bell import Bell
from notifywrap.errors import NotifyError, describe
from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HealthCheck", "start_thread"]


class HealthCheck:
    """Runs *healthy* in a thread of its own, which sleeps until it is asked: two wake-ups for an
    answer, none besides.

    bell  rung when there is an answer

    One that hangs is not asked a second time: its thread waits with it, and goes when it does.
    """

    def __init__(self, healthy: Callable[[], object], bell: Bell) -> None:
        self._healthy = healthy
        self._bell = bell
        self._asked = Bell()
        self._asked_at: float | None = None  # None: nothing is under way
        self._answer: str | None = None
        self._is_over = False
        self.thread = start_thread(self._run, "notifywrap-health")

    def find_trouble(self, limit_s: float) -> str:
        """Why the daemon is not healthy; "" when it is. Returns after *limit_s* seconds in any
        case; an answer that comes later is the next call's."""
        began = time.monotonic()
        if self._asked_at is None:
            self._asked_at, self._answer = began, None
            self._asked.ring()
        while self._answer is None:
            now = time.monotonic()
            if self._is_over or now >= began + limit_s:
                return f"the health check has not returned for {now - self._asked_at:.1f} s"
            self._bell.wait(began + limit_s - now)
        self._asked_at = None
        return self._answer

    def close(self) -> None:
        """Nobody asks any more. Does not wait for the thread. May be called again."""
        self._is_over = True
        self._asked.ring()
        self._bell.ring()

    def _run(self) -> None:
        while True:
            self._asked.wait()
            if self._is_over:
                return
            try:
                self._answer = "" if self._healthy() else "the health check says no"
            except BaseException as error:  # noqa: BLE001 - SystemExit is no evidence either
                self._answer = f"the health check failed: {describe(error)}"
            self._bell.ring()


def start_thread(run: Callable[[], None], name: str) -> threading.Thread:
    """A thread that does not keep the daemon from ending.

    Raises NotifyError where none can be started: TasksMax=, or the interpreter is ending.
    """
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise NotifyError(f"cannot watch this daemon: {error}") from None
    return thread
