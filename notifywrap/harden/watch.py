"""Watches which files a service opens and which programs it executes: fanotify(7), by the kernel.

It tells of a file after it has been opened, and delays nobody. What is asked of /proc for each
event, whose process it was, may come too late for one that has ended at once; so what is learned
here is a proposal, and a round is the proof.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import struct
from typing import Any

from notifywrap.harden.model import Process

__all__ = ["Watch"]

# linux/fanotify.h
_CLOEXEC, _NONBLOCK, _UNLIMITED_QUEUE = 0x1, 0x2, 0x10
_MARK_ADD, _MARK_FILESYSTEM = 0x1, 0x100
_OPEN, _OPEN_EXEC, _ON_DIRECTORIES = 0x20, 0x1000, 0x40000000
_EVENT = struct.Struct("=IBBHQii")  # struct fanotify_event_metadata
_AT_FDCWD = -100
# Of the kernel: nothing to learn, and no filesystems that could be marked.
_OF_THE_KERNEL = ("proc", "sysfs", "cgroup", "cgroup2", "devpts", "devtmpfs", "mqueue", "nsfs")


class Watch:
    """Watches all processes of *unit* within the `with` block; processes() has what was seen."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._pid = self._control = self._result = -1
        self._seen = ""

    def __enter__(self) -> Watch:
        stop, self._control = os.pipe2(os.O_CLOEXEC)
        self._result, result = os.pipe2(os.O_CLOEXEC)
        group = _open_group()  # before the service starts
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.setsid()  # out of reach of the terminal's ctrl-C: the pipe ends it
                os.close(self._control)
                seen = _record(group, stop, self._unit) if group >= 0 else {}
                with os.fdopen(result, "w") as file:
                    json.dump(seen, file)
            finally:
                os._exit(0)
        for fd in (stop, result, *([group] if group >= 0 else [])):
            os.close(fd)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def processes(self) -> tuple[Process, ...]:
        """What each process has done; () where the kernel cannot be asked. Ends the watch."""
        self._end()
        return tuple(
            Process(int(pid), one["parent"], tuple(one["executed"]), tuple(one["opened"]))
            for pid, one in json.loads(self._seen or "{}").items()
        )

    def _end(self) -> None:
        if self._pid < 0:
            return
        os.close(self._control)
        with os.fdopen(self._result) as file:
            self._seen = file.read()
        os.waitpid(self._pid, 0)
        self._pid = -1


def _open_group() -> int:
    """A fanotify group that hears of all that is opened on this machine; -1 where there is none."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        group = int(libc.fanotify_init(_CLOEXEC | _NONBLOCK | _UNLIMITED_QUEUE, os.O_CLOEXEC))
    except (OSError, AttributeError):
        return -1  # a C library without it
    if group < 0:
        return -1  # EPERM, ENOSYS: not in this container, not in this kernel
    mask = ctypes.c_uint64(_OPEN | _OPEN_EXEC | _ON_DIRECTORIES)
    for path in _filesystems():
        # Those that cannot be marked are left out: rounds will show what is missing.
        libc.fanotify_mark(group, _MARK_ADD | _MARK_FILESYSTEM, mask, _AT_FDCWD, path.encode())
    return group


def _filesystems() -> list[str]:
    """One mount point of each."""
    found: dict[str, str] = {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            if fields[fields.index("-") + 1] not in _OF_THE_KERNEL:
                path = fields[4].encode().decode("unicode_escape")  # "\040" for a blank
                found.setdefault(fields[2], path)
    return list(found.values())


def _record(group: int, stop: int, unit: str) -> dict[int, dict[str, Any]]:
    """Until *stop* is closed: pid -> parent, executed, opened."""
    seen: dict[int, dict[str, Any]] = {}
    poll = select.poll()
    poll.register(group, select.POLLIN)
    poll.register(stop, select.POLLIN)
    is_over = False
    while not is_over:
        is_over = any(fd == stop for fd, _ in poll.poll())
        _read_events(group, seen, unit)
    return {
        pid: {**one, "executed": list(one["executed"]), "opened": sorted(one["opened"])}
        for pid, one in seen.items()
    }


def _read_events(group: int, seen: dict[int, dict[str, Any]], unit: str) -> None:
    while True:
        try:
            data = os.read(group, 65536)
        except BlockingIOError:
            return
        while data:
            length, _, _, _, mask, fd, pid = _EVENT.unpack_from(data)
            data = data[length:]
            if fd < 0:
                continue  # the queue has overflowed
            try:
                if pid in seen or _is_of(pid, unit, seen):
                    _note(seen[pid], os.readlink(f"/proc/self/fd/{fd}"), mask)
            finally:
                os.close(fd)


def _is_of(pid: int, unit: str, seen: dict[int, dict[str, Any]]) -> bool:
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            if not any(line.rstrip("\n").endswith(f"/{unit}") for line in file):
                return False
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            parent = int(file.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return False  # it has ended
    seen[pid] = {"parent": parent, "executed": {}, "opened": set()}
    return True


def _note(one: dict[str, Any], path: str, mask: int) -> None:
    if mask & _OPEN_EXEC:
        # What it has opened before, it was as another program.
        one["opened"].clear()
        one["executed"][path] = None
    else:
        one["opened"].add(path)
