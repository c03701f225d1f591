"""A thread that pings systemd's watchdog, but only on evidence."""

from __future__ import annotations

import os
import threading
import time

from notifywrap.daemon.beats import Beats, parse_within, same_trouble
from notifywrap.daemon.bell import Bell
from notifywrap.daemon.healthcheck import HealthCheck, start_thread
from notifywrap.errors import NotifyError
from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from notifywrap.daemon.notifier import Notifier
    from notifywrap.daemon.workers import Worker, Workers

__all__ = ["CHECK_SHARE", "MOST_S", "SHARE", "Heartbeat", "Watchdog"]

# As the wrapper does it: three checks may fail before systemd acts.
SHARE = 0.25
MOST_S = 10.0
# A health check that takes longer is worth a line in STATUS: nobody else could say why there are no
# pings before systemd acts. One that takes its time may, up to WatchdogSec.
CHECK_SHARE = 0.5
_NO_WATCHDOG_S = 30.0  # nobody looks then


class Heartbeat:
    """Call it whenever the part of the daemon that it stands for has got on. Costs a microsecond
    or two."""

    def __init__(self, beats: Beats, name: str) -> None:
        self._beats = beats
        self.name = name

    def __call__(self) -> None:
        self._beats.beat(self.name, time.monotonic())

    def close(self) -> None:
        """This part has done its work and is not expected any more."""
        self._beats.remove(self.name)


class Watchdog:
    """Pings while all is well: *healthy* returns true, in time, and no heartbeat is late.

    healthy   called every quarter of WatchdogSec (at most every 10 s) in a thread of its own; one
              that raises gets no ping, nor does one that does not come back, which STATUS says
              after half of WatchdogSec
    notifier  who tells systemd
    is_ready  ping before notifier.ready() has been called: for a daemon whose READY=1 somebody else
              says. By default nothing is pinged before, as that would arm the watchdog too early

    Runs from its creation to close(), or to the end of its `with` block; silent once
    notifier.stopping() has been called. Where systemd expects no pings nothing is started, and all
    methods work. A forked child has no watchdog.
    Raises NotifyError where no thread can be started. Source: sd_watchdog_enabled(3).
    """

    def __init__(
        self,
        notifier: Notifier,
        healthy: Callable[[], object] | None = None,
        *,
        is_ready: bool = False,
    ) -> None:
        self._notifier = notifier
        self._healthy = healthy
        self._is_ready = is_ready
        self._beats = Beats()
        self._workers: Workers | None = None
        self._said = ""
        self._pid = os.getpid()
        self._bell = Bell()
        self._is_over = False
        self._check: HealthCheck | None = None
        self._thread: threading.Thread | None = None
        self._grant_s = grant_s = notifier.watchdog_s
        if grant_s is not None:
            self._period_s = min(grant_s * SHARE, MOST_S)
            self._limit_s = grant_s * CHECK_SHARE
            _ = self.workers  # children share only what is there before they are forked
            self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def heartbeat(self, name: str, *, within: float) -> Heartbeat:
        """A part of the daemon, called *name* in STATUS, that has to show itself at least every
        *within* seconds. Raises NotifyError for a time that is none."""
        self._beats.add(name, parse_within(within), time.monotonic())
        return Heartbeat(self._beats, name)

    @property
    def workers(self) -> Workers:
        """For processes that multiprocessing starts: give it to them as an argument, and join()."""
        if self._workers is None:
            from notifywrap.daemon.workers import Workers

            self._workers = Workers()
        return self._workers

    def worker(self, name: str = "", *, within: float | None = None) -> Worker:
        """Call it in a forked child: that process shows itself at least every *within* seconds from
        now on, by calling what this returns. By default within half of WatchdogSec."""
        if within is None:
            within = self._grant_s / 2 if self._grant_s else _NO_WATCHDOG_S
        return self.workers.join(name, within=within)

    def forget_worker(self, pid: int) -> None:
        """A worker has ended and another takes its place: it is not missed any longer."""
        self.workers.forget(pid)

    def close(self) -> None:
        """Stop pinging. May be called again, from a signal handler and in a forked child too."""
        self._is_over = True
        self._bell.ring()
        if self._check is not None:
            self._check.close()
        if self._thread is None or os.getpid() != self._pid:
            return  # a child has none of the threads
        deadline = time.monotonic() + self._period_s  # one that hangs in `healthy` is left alone
        for thread in (self._thread, self._check.thread if self._check else self._thread):
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self) -> None:
        if self._healthy is not None:
            self._check = HealthCheck(self._healthy, self._bell)
        try:
            self._thread = start_thread(self._run, "notifywrap-watchdog")
        except NotifyError:
            if self._check is not None:
                self._check.close()
            raise

    def _run(self) -> None:
        due = time.monotonic()
        while not self._is_over:
            try:
                self._look()
            except NotifyError:
                pass  # systemd cannot be told; perhaps next time
            now = time.monotonic()
            due = max(due + self._period_s, now)
            while now < due and not self._is_over:  # a late answer rings as well
                self._bell.wait(due - now)
                now = time.monotonic()

    def _look(self) -> None:
        if self._notifier.is_stopping or not (self._is_ready or self._notifier.is_ready):
            return
        trouble = self._find_trouble()
        if self._is_over or self._notifier.is_stopping:
            return
        if not trouble:
            self._notifier.ping()
        if not same_trouble(trouble, self._said):
            self._notifier.say_trouble(f"unhealthy: {trouble}" if trouble else "")
            self._said = trouble

    def _find_trouble(self) -> str:
        """Why there is no ping; "" when there is one."""
        now = time.monotonic()
        late = self._beats.describe_late(now)
        if not late and self._workers is not None:
            late = self._workers.describe_late(now)
        if late or self._check is None:
            return late
        return self._check.find_trouble(self._limit_s)
