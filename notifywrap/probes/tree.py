"""The target's process tree, and which sockets it holds: a few lines on /proc.

The tree is the target, its descendants, and orphans of either, which come to the wrapper
(PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import time

from notifywrap.lean import TYPE_CHECKING, NamedTuple, os

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from notifywrap.probes.target import Target

__all__ = ["Held", "Owners", "children", "holder", "is_member", "members"]

_READ_SIZE = 65536
# A walk over the fds of the tree costs 6.5 us per fd. What it may cost, as a share of a core:
# little for looking again at what was not ours before, more for a socket that has just appeared,
# because a start waits for that one.
_SHARE_AGAIN, _SHARE_NEW = 0.005, 0.10
_LONGEST_GAP_S = 1.0
_MOST_ABSENT = 4096
# Finding out who else holds a port is a courtesy: no more than this, once per socket.
_STRANGER_SEARCH_S = 0.020
# How far up a process is looked for its place. A chain that somebody makes longer costs him more
# than us.
_DEEPEST = 64


class Held(NamedTuple):
    """Where the tree holds a socket."""

    pid: int
    link: str


class Owners:
    """Remembers who of the tree holds which socket, so that a second look costs one readlink.

    unreadable  the last walk met a process whose fds it may not see (a target with capabilities of
                its own)
    """

    def __init__(self, target: Target) -> None:
        self.unreadable = False
        self._target = target
        self._held: dict[int, Held] = {}
        self._absent: set[int] = set()
        self._named: dict[int, str] = {}
        self._walked_at = self._cost_s = 0.0
        self._fruitless = 0

    def held(self, inodes: Iterable[int]) -> set[int]:
        """Those of *inodes* that the target's tree holds, as far as may be looked for just now."""
        wanted = set(inodes)
        found = {inode for inode in wanted if self._is_still_held(inode)}
        missing = wanted - found
        if missing and time.monotonic() >= self._next_walk_at(not missing <= self._absent):
            found |= self._walk(missing)
        return found

    def is_decided(self, inodes: Iterable[int]) -> bool:
        """Whether all of *inodes* were looked for: those not held are then somebody else's."""
        return all(inode in self._absent or inode in self._held for inode in inodes)

    def holder_name(self, inode: int) -> str:
        """Who outside of the tree holds this socket: "pid 12 nginx"; "" if not found quickly."""
        if inode not in self._named:
            self._named.clear()
            self._named[inode] = holder(inode, _STRANGER_SEARCH_S)
        return self._named[inode]

    def uids(self) -> set[int]:
        """Every user id that the tree's processes run under; ours for a target that is hidden from
        us: it was started by us, and only a set-user-ID program has another."""
        found = {uid for pid in members(self._target) for uid in _uids(pid)}
        return found if _uids(self._target.pid) else found | {os.getuid(), os.geteuid()}

    def _is_still_held(self, inode: int) -> bool:
        held = self._held.get(inode)
        if held is None:
            return False
        if _link(held.link) == f"socket:[{inode}]":
            return True
        del self._held[inode]
        return False

    def _next_walk_at(self, has_new: bool) -> float:
        share = _SHARE_NEW if has_new else _SHARE_AGAIN / (1 << min(self._fruitless, 10))
        return self._walked_at + min(
            self._cost_s / share, max(_LONGEST_GAP_S, self._cost_s / _SHARE_AGAIN)
        )

    def _walk(self, missing: set[int]) -> set[int]:
        began = time.thread_time()
        links = {f"socket:[{inode}]": inode for inode in missing}
        found: set[int] = set()
        self.unreadable = False
        for pid in members(self._target):
            for path, text in self._fds(pid):
                if text in links:
                    inode = links.pop(text)
                    found.add(inode)
                    self._held[inode] = Held(pid, path)
            if not links:
                break
        known = self._absent if len(self._absent) < _MOST_ABSENT else set()
        self._absent = (known | missing) - found
        self._fruitless = 0 if found else self._fruitless + 1
        self._cost_s = time.thread_time() - began
        self._walked_at = time.monotonic()
        return found

    def _fds(self, pid: int) -> Iterator[tuple[str, str]]:
        directory = f"/proc/{pid}/fd"
        try:
            names = os.listdir(directory)
        except PermissionError:
            self.unreadable = True
            return
        except OSError:
            # Gone in between, or no /proc for us at all: only the latter hides the target itself.
            self.unreadable |= pid == self._target.pid
            return
        for name in names:
            path = f"{directory}/{name}"
            yield path, _link(path)


def members(target: Target) -> list[int]:
    """The pids of the target's tree, the target first."""
    waiting = [target.pid]
    waiting += [
        pid
        for pid in children(target.wrapper_pid)
        if pid != target.pid and pid not in target.strangers
    ]
    # Keeps the order; a pid that moves while we look must not be visited twice
    found: dict[int, None] = {}
    while waiting:
        pid = waiting.pop(0)
        if pid not in found:
            found[pid] = None
            waiting += children(pid)
    return list(found)


def is_member(target: Target, pid: int) -> bool:
    """Whether this process is of the target's tree; costs one read for each parent on the way up.

    Raises ProcessLookupError when nobody can tell: it has ended, or its parents are hidden from us.
    """
    wrapper = target.wrapper_pid
    one = pid
    for _ in range(_DEEPEST):
        if one == target.pid:
            return True
        if one in (0, wrapper) or one in target.strangers:
            return False
        try:
            parent = _parent(one)
        except OSError:
            if one == pid:
                break
            one = pid  # a parent has ended meanwhile: its children have another one now
            continue
        if parent == wrapper:
            return True  # an orphan
        one = parent
    raise ProcessLookupError(f"cannot find out whose process {pid} is")


def _parent(pid: int) -> int:
    return int(_read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[1])


def children(pid: int) -> list[int]:
    """The children of one process, also where /proc has nothing but processes (ProcSubset=pid)."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read(f"/proc/{pid}/task/{task}/children").split())
    except FileNotFoundError:
        if not os.access(f"/proc/self/task/{os.getpid()}/children", os.F_OK):
            return _children_by_parent(pid)  # a kernel without CONFIG_PROC_CHILDREN
    except OSError:
        # ESRCH: it ended while we read; EACCES: hidden from us (hidepid=), and so are its
        # children's fds
        pass
    return found


def _children_by_parent(parent: int) -> list[int]:
    found = []
    for name in _pids():
        try:
            if _parent(int(name)) == parent:
                found.append(int(name))
        except (OSError, IndexError):
            pass  # it ended while we read
    return found


def holder(inode: int, most_s: float) -> str:
    """Looks for the process that holds this socket: "pid 12 nginx"; "" when it was not found with
    *most_s* seconds of CPU time."""
    deadline = time.thread_time() + most_s  # not of the clock: others may have the cores
    text = f"socket:[{inode}]"
    for name in _pids():
        try:
            for fd in os.listdir(f"/proc/{name}/fd"):
                if _link(f"/proc/{name}/fd/{fd}") == text:
                    command = _read(f"/proc/{name}/comm").decode(errors="replace").strip()
                    return f"pid {name} {command}"
                if time.thread_time() > deadline:
                    return ""
        except OSError:
            pass  # gone, or not ours to see
    return ""


def _pids() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _uids(pid: int) -> set[int]:
    try:
        for line in _read(f"/proc/{pid}/status").splitlines():
            if line.startswith(b"Uid:"):
                return set(map(int, line.split()[1:]))
    except OSError:
        pass  # it ended while we read
    return set()


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # closed or gone in between


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _READ_SIZE)
    finally:
        os.close(fd)
