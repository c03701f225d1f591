"""gunicorn's hooks: READY=1 when its workers serve, pings while every one of them gets on.

    # gunicorn.conf.py
    from notifywrap.gunicorn import (  # noqa: F401 - gunicorn finds its hooks by their names
        child_exit, on_exit, on_reload, on_starting, post_fork, post_request, post_worker_init,
        pre_exec, when_ready, worker_exit,
    )

All of them are needed. One of your own with such a name calls ours with the same arguments. Without
systemd they do nothing that shows. Nothing of gunicorn is imported here.

What a worker shows, at least once in gunicorn's own `timeout` (never late where that is 0):
* each kind: its own loop turns (it calls notify(), which gunicorn's arbiter watches as well);
* gthread: also that its pool of threads takes up work. The loop of a worker whose threads are all
  stuck turns on, takes connections and lets them wait: gunicorn itself does not find that;
* or that it has finished a request: one that is behind with its work is not stuck.
It does not show that the answers are right, nor that no thread is stuck as long as another is not.
"""

from __future__ import annotations

import math
import os
import struct
import threading
import time

from notifywrap.daemon import functions
from notifywrap.errors import NotifyError
from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from notifywrap.daemon.workers import Worker as Beat

__all__ = [
    "BOOT_S",
    "child_exit",
    "on_exit",
    "on_reload",
    "on_starting",
    "post_fork",
    "post_request",
    "post_worker_init",
    "pre_exec",
    "when_ready",
    "worker_exit",
]

BOOT_S = 90.0  # to load the application, as long as systemd's default for a whole start
# What systemd passes. gunicorn must not find it: it says READY=1 itself, before it has a worker.
_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_AGE = struct.Struct("i")  # gunicorn counts its workers: the number of one is its "age"


class _Arbiter:
    """What gunicorn's main process knows of its workers. At a reload gunicorn reads its
    configuration anew, but not this module: it outlives that."""

    def __init__(self) -> None:
        self.notifier = functions.get_notifier()
        for name in _VARIABLES:
            os.environ.pop(name, None)
        self._born: set[int] = set()  # the ages of the workers that serve
        self._dead: set[int] = set()  # of those that ended before we knew that they serve
        self._oldest = 0  # older ones are being replaced
        self._is_ready = False
        self._short_since: float | None = None  # a moment
        self._lock = threading.Lock()

    def start(self, server: Any) -> None:
        """Before the first fork: children have what is there by then."""
        self._server = server
        self.watchdog = functions.watchdog(self._is_complete)
        reading, self.births = os.pipe2(os.O_CLOEXEC)
        name = "notifywrap-gunicorn"
        threading.Thread(target=self._follow, args=(reading,), name=name, daemon=True).start()

    def begin_reload(self) -> None:
        """The workers of before do their last requests, unwatched: gunicorn sees to their end."""
        with self._lock:
            self._oldest = self._server.worker_age + 1
            self._is_ready = False
            self._tell(lambda: self.notifier.reloading("reloading: new workers start"))
        for pid in list(self._server.WORKERS):
            self.watchdog.forget_worker(pid)

    def bury(self, worker: Any) -> None:
        self.watchdog.forget_worker(worker.pid)
        with self._lock:
            if worker.age in self._born:
                self._born.remove(worker.age)
            else:
                self._dead.add(worker.age)

    def _follow(self, reading: int) -> None:
        while data := os.read(reading, _AGE.size):
            (age,) = _AGE.unpack(data)
            with self._lock:
                if age not in self._dead:
                    self._born.add(age)
                if not self._is_ready and self._count() >= self._server.num_workers:
                    self._is_ready = True
                    self._tell(self._say_ready)

    def _say_ready(self) -> None:
        self.notifier.ready(f"serving with {self._count()} workers")
        _mark_ready()

    def _count(self) -> int:
        return sum(age >= self._oldest for age in self._born)

    def _is_complete(self) -> bool:
        """Raises RuntimeError when fewer workers serve than should, and have done so for BOOT_S:
        one that ends again and again before it is asked for a beat would not be found else."""
        with self._lock:
            count, wanted = self._count(), self._server.num_workers
            if count >= wanted:
                self._short_since = None
                return True
            self._short_since = self._short_since or time.monotonic()
            if time.monotonic() - self._short_since <= BOOT_S:
                return True
        raise RuntimeError(f"only {count} of {wanted} workers serve")  # its text goes into STATUS

    def _tell(self, tell: Callable[[], object]) -> None:
        try:
            tell()
        except NotifyError as error:
            self._server.log.error("cannot tell systemd: %s", error)


_arbiter: _Arbiter | None = None
_beat: Beat | None = None  # in a worker


def on_starting(server: Any) -> None:  # noqa: ARG001
    """Before gunicorn listens."""
    _get_arbiter()


def when_ready(server: Any) -> None:
    """gunicorn listens and has no worker yet, so nobody is served yet."""
    _get_arbiter().start(server)


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001
    """In a new worker, before it loads the application: one that hangs there is found as well.
    gunicorn's own timeout begins later."""
    global _beat
    _beat = _join(f"starting worker {worker.age}", BOOT_S)


def post_worker_init(worker: Any) -> None:
    """In a worker that has loaded the application, before its loop begins."""
    global _beat
    if _beat is not None:
        _beat.close()
    _beat = _join(f"worker {worker.age}", worker.cfg.timeout or math.inf)
    _watch_loop(worker, _beat, _get_arbiter().births)


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:  # noqa: ARG001
    """In a worker, in the thread that has served the request."""
    if _beat is not None:
        _beat()


def worker_exit(server: Any, worker: Any) -> None:
    """In a worker that ends by itself: there is no moment in which it is missed. In the arbiter,
    for one that somebody else has reaped."""
    if _beat is not None:
        _beat.close()
    else:
        child_exit(server, worker)


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """In the arbiter, for a worker that has ended in whatever way; gunicorn replaces it."""
    _get_arbiter().bury(worker)


def on_reload(server: Any) -> None:  # noqa: ARG001
    """In the arbiter, at SIGHUP, before it forks the new workers."""
    _get_arbiter().begin_reload()


def on_exit(server: Any) -> None:  # noqa: ARG001
    """In the arbiter, when the last worker has ended."""
    _get_arbiter().watchdog.close()


def pre_exec(server: Any) -> None:
    """In the second arbiter that SIGUSR2 makes. systemd hears the first one alone and ends both
    when that ends, so the second keeps silent: under systemd reload or restart instead."""
    for name in _VARIABLES:
        server.cfg.env_orig.pop(name, None)


def _get_arbiter() -> _Arbiter:
    global _arbiter
    if _arbiter is None:
        _arbiter = _Arbiter()
    return _arbiter


def _join(name: str, within_s: float) -> Beat:
    return _get_arbiter().watchdog.worker(name, within=within_s)


def _watch_loop(worker: Any, beat: Beat, births: int) -> None:
    """Have the worker's loop show itself whenever it tells gunicorn that it turns."""
    notify = worker.notify
    pool = getattr(worker, "tpool", None)  # gthread's
    queued = threading.Lock()  # held while a beat waits in the pool
    is_born = False

    def show() -> None:
        nonlocal is_born
        beat()
        if not is_born:
            is_born = True
            os.write(births, _AGE.pack(worker.age))

    def show_from_pool() -> None:
        queued.release()
        show()

    def notify_and_show() -> None:
        notify()
        if pool is None:
            show()
        elif queued.acquire(blocking=False):
            pool.submit(show_from_pool)

    worker.notify = notify_and_show


def _mark_ready() -> None:
    """For ExecReload= in the unit, where systemd knows no Type=notify-reload."""
    directory = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if directory:
        os.close(os.open(f"{directory}/ready", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
