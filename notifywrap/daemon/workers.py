"""Workers in processes of their own: each shows itself in memory that it shares with its parent,
which pings only while every one of them gets on.

A beat is a number written to memory: no system call, nothing to be read, nothing that could be
full. The parent looks when it is about to ping.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time

from notifywrap.daemon.beats import parse_within
from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

__all__ = ["Worker", "Workers"]

MOST = 256  # workers at a time: 16 KiB
_PID = struct.Struct("q")  # 0: nobody
_SLOT = struct.Struct("qdd40s")  # pid, last beat on CLOCK_MONOTONIC, seconds allowed, name
_BEAT = struct.Struct("d")
_BEAT_AT = 8


class Worker:
    """Call it whenever this worker has got on; close() it when its work is done. One that ends
    without is missed."""

    def __init__(self, memory: mmap.mmap, at: int, pid: int) -> None:
        self._memory = memory
        self._at = at
        self._pid = pid

    # A worker that was forgotten goes on for a while, and its place may be another's by then.
    def __call__(self) -> None:
        if _PID.unpack_from(self._memory, self._at)[0] == self._pid:
            _BEAT.pack_into(self._memory, self._at + _BEAT_AT, time.monotonic())

    def close(self) -> None:
        """This worker is not expected any more."""
        if _PID.unpack_from(self._memory, self._at)[0] == self._pid:
            _PID.pack_into(self._memory, self._at, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Workers:
    """The workers of one watchdog: make it before they are forked, and join() in each.

    It may be given to a multiprocessing.Process of any start method as an argument.
    Raises OSError when there is no memory to share.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._fd = os.memfd_create("notifywrap-workers", os.MFD_CLOEXEC) if fd is None else fd
        if fd is None:
            os.ftruncate(self._fd, MOST * _SLOT.size)
        self._memory = mmap.mmap(self._fd, MOST * _SLOT.size)
        self._pid, self._lock = os.getpid(), threading.Lock()

    def __reduce__(self) -> tuple[Callable[..., Workers], tuple[object]]:
        from multiprocessing import reduction  # only where it is loaded anyway

        return _rebuild, (reduction.DupFd(self._fd),)

    def join(self, name: str = "", *, within: float) -> Worker:
        """This process is a worker from now on, and shows itself at least every *within* seconds.

        Raises NotifyError for a time that is none, OSError when there are too many workers.
        """
        within = parse_within(within)
        pid = os.getpid()
        text = (name or f"worker {pid}").encode("utf-8", "replace")[:40]
        if pid != self._pid:  # a thread of our parent may have held it when we were forked
            self._pid, self._lock = pid, threading.Lock()
        # The thread lock for this process, the file's for the others; it goes with its process.
        with self._lock:
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
            try:
                for at in range(0, MOST * _SLOT.size, _SLOT.size):
                    if _PID.unpack_from(self._memory, at)[0] == 0:
                        _SLOT.pack_into(self._memory, at, 0, time.monotonic(), within, text)
                        _PID.pack_into(self._memory, at, pid)  # now the parent sees it, complete
                        return Worker(self._memory, at, pid)
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN)
        raise OSError(f"there are {MOST} workers already")

    def forget(self, pid: int) -> None:
        """A worker has ended, and another will take its place: miss it no longer."""
        for at, other, *_ in self._rows():
            if other == pid:
                _PID.pack_into(self._memory, at, 0)

    def describe_late(self, now: float) -> str:
        """Who does not get on, for STATUS; "" when all do."""
        late = []
        for _, pid, last, within_s, name in self._rows():
            who = name.rstrip(b"\0").decode("utf-8", "replace")
            if _has_ended(pid):
                late.append(f"{who} (process {pid}) has ended")
            elif now - last > within_s:
                late.append(f"{who} (process {pid}) silent for {now - last:.1f} s")
        return ", ".join(late)

    def close(self) -> None:
        """Give the memory back. May be called again."""
        if self._fd >= 0:
            self._memory.close()
            os.close(self._fd)
            self._fd = -1

    def _rows(self) -> Iterator[tuple[int, int, float, float, bytes]]:
        for at in range(0, MOST * _SLOT.size, _SLOT.size):
            row = _SLOT.unpack_from(self._memory, at)
            if row[0]:
                yield (at, *row)


def _has_ended(pid: int) -> bool:
    """Gone, or a child of ours that nobody has reaped yet."""
    try:
        seen = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return not os.path.exists(f"/proc/{pid}")  # somebody else's, a manager process's say
    return seen is not None


def _rebuild(fd: object) -> Workers:
    return Workers(fd.detach())  # type: ignore[attr-defined]  # multiprocessing's DupFd
