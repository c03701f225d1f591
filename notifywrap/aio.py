"""For asyncio daemons: pings that come from the event loop itself, so that a blocked loop starves
them, and the life of a service around a main coroutine."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from notifywrap.daemon import functions
from notifywrap.daemon.beats import Beats, parse_within, same_trouble
from notifywrap.daemon.watchdog import MOST_S, SHARE, Heartbeat
from notifywrap.errors import NotifyError, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import Self

    from notifywrap.daemon.notifier import Notifier

__all__ = ["Service", "Watchdog", "service", "watchdog"]

# A loop that comes this late, as a share of WatchdogSec, is worth a line in STATUS.
_LAG_SHARE = 1 / 8
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Watchdog:
    """`async with notifywrap.aio.watchdog(healthy=...)`: pings while the loop turns and all is
    well.

    healthy  a coroutine function that returns true when the daemon works; it has a quarter of
             WatchdogSec for its answer. Not asked before the daemon is ready
    """

    def __init__(
        self,
        notifier: Notifier,
        healthy: Callable[[], Awaitable[object]] | None = None,
        *,
        is_ready: bool = False,
    ) -> None:
        self._notifier = notifier
        self._healthy = healthy
        self._is_ready = is_ready
        self._beats = Beats()
        self._said = ""
        self._task: asyncio.Task[None] | None = None
        self._check: asyncio.Task[object] | None = None

    async def __aenter__(self) -> Self:
        grant_s = self._notifier.watchdog_s
        if grant_s is not None:
            self._task = asyncio.create_task(self._run(grant_s), name="notifywrap-watchdog")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})  # not `await`: our own cancellation must go through
        if self._check is not None:
            self._check.cancel()

    def heartbeat(self, name: str, *, within: float) -> Heartbeat:
        """A task of the daemon, called *name* in STATUS, that has to show itself at least every
        *within* seconds. Raises NotifyError for a time that is none."""
        self._beats.add(name, parse_within(within), time.monotonic())
        return Heartbeat(self._beats, name)

    async def _run(self, grant_s: float) -> None:
        period_s = min(grant_s * SHARE, MOST_S)
        due = time.monotonic()
        while True:
            lag_s = time.monotonic() - due
            if self._is_ready or self._notifier.is_ready:
                trouble = await self._find_trouble(period_s)
                with suppress(NotifyError):  # systemd cannot be told; perhaps next time
                    self._tell(trouble, lag_s, grant_s)
            due = max(due + period_s, time.monotonic())
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _tell(self, trouble: str, lag_s: float, grant_s: float) -> None:
        if self._notifier.is_stopping:
            return
        if not trouble:
            self._notifier.ping()
        slow = f"the event loop was {lag_s:.1f} s late" if lag_s > _LAG_SHARE * grant_s else ""
        wanted = f"unhealthy: {trouble}" if trouble else slow
        if not same_trouble(wanted, self._said):
            self._notifier.say_trouble(wanted)
            self._said = wanted

    async def _find_trouble(self, timeout_s: float) -> str:
        late = self._beats.describe_late(time.monotonic())
        if late or self._healthy is None:
            return late
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(_ask(self._healthy), name="notifywrap-health")
        check = self._check
        # Not wait_for(): that waits on for one that does not obey its cancellation, a thread say.
        await asyncio.wait({check}, timeout=timeout_s)
        if not check.done():
            check.cancel()
            return f"the health check took longer than {timeout_s:g} s"
        try:
            answer = check.result()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is no evidence
            return f"the health check failed: {describe(error)}"
        return "" if answer else "the health check says no"


async def _ask(healthy: Callable[[], Awaitable[object]]) -> object:
    return await healthy()


def watchdog(
    healthy: Callable[[], Awaitable[object]] | None = None, *, is_ready: bool = False
) -> Watchdog:
    """See Watchdog; for this process's environment."""
    return Watchdog(functions.get_notifier(), healthy, is_ready=is_ready)


class Service:
    """`async with notifywrap.aio.service(reload=...) as service: await service.stopped()`

    READY=1 on entering; SIGTERM and SIGINT say STOPPING=1 and end stopped(); SIGHUP runs *reload*
    between RELOADING=1 and READY=1, where one is given, one after the other. STOPPING=1 on leaving
    at the latest.

    stop_signals  others than these two; none at all for a framework that takes them itself
    """

    def __init__(
        self,
        notifier: Notifier,
        reload: Callable[[], Awaitable[object]] | None = None,
        status: str = "",
        *,
        stop_signals: Iterable[int] = STOP_SIGNALS,
    ) -> None:
        self._notifier = notifier
        self._reload = reload
        self._status = status
        self._stopped = asyncio.Event()
        self._reloads = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop_signals = tuple(stop_signals)
        self._signals: tuple[int, ...] = ()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for signum in self._stop_signals:
            loop.add_signal_handler(signum, self._stop)
        self._signals = self._stop_signals
        if self._reload is not None:
            loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
            self._signals += (signal.SIGHUP,)
        try:
            self._notifier.ready(self._status)
        except NotifyError:
            self._restore_signals()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._restore_signals()
        for task in self._tasks:
            task.cancel()
        self._stop()

    def _restore_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in self._signals:
            loop.remove_signal_handler(signum)

    async def stopped(self) -> None:
        """Wait until this service is to stop."""
        await self._stopped.wait()

    def _stop(self) -> None:
        if not self._stopped.is_set():
            self._stopped.set()
            with suppress(NotifyError):  # it stops all the same
                self._notifier.stopping()

    def _begin_reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._run_reload())
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)

    async def _run_reload(self) -> None:
        assert self._reload is not None, "without one HUP has no handler"
        async with self._reloads:
            with suppress(Exception), self._notifier.reload():  # STATUS says that it failed
                await self._reload()


def service(
    reload: Callable[[], Awaitable[object]] | None = None,
    status: str = "",
    *,
    stop_signals: Iterable[int] = STOP_SIGNALS,
) -> Service:
    """See Service; for this process's environment."""
    return Service(functions.get_notifier(), reload, status, stop_signals=stop_signals)
