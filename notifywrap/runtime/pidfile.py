"""`--pidfile`: who succeeds the process that was followed, and that nobody of them outlives us."""

from __future__ import annotations

import stat

from notifywrap.lean import TYPE_CHECKING, os, signal
from notifywrap.probes.tree import children
from notifywrap.runtime.lastwords import leave_word, take_back

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

__all__ = ["PidFile"]

# Enough for the first line of any; Postfix pads the number with blanks.
_READ_SIZE = 64
_MOST_DIGITS = 10
# Backends of a database have a process group each. What is left of one that crashed is for its
# successor to end: all of them would take all of our descriptors.
_MOST_GUARDED = 16


class PidFile:
    """Looks whom the file names. Make it before the target is started.

    A pid is believed when it is a living child of ours: only of such a one we learn how it ends. A
    daemon becomes that when its parent has ended (PR_SET_CHILD_SUBREAPER). So nobody outside of the
    target's tree is ever followed, whoever may write to the file; its owner does not matter.

    reason  why nobody was found at the last look; "" when somebody was
    """

    def __init__(self, path: str) -> None:
        self.reason = ""
        self._path = path
        self._words: list[tuple[int, ...]] = []
        # From an earlier life, as long as it is still the same: pids come again.
        self._stale = _identify(path)

    def find(self, strangers: Container[int]) -> int:
        """The pid of the living child that the file names; 0 when there is none.

        strangers  children that are not of the target's tree (exec probes)
        """
        pid = self._read()
        if not pid:
            return 0
        if pid in strangers or not _is_living_child(pid):
            self.reason = f"it names {pid}, which is no process that the target has left to us"
            return 0
        self.reason = ""
        return pid

    def find_heirs(self, strangers: Container[int]) -> list[int]:
        """The children that the target has left to us: one of them may be named yet.

        Until somebody is followed, they end with us.
        """
        heirs: list[int] = []
        listed: list[int] = []
        before = None
        # One that has ended since it was listed has left us its own children: so list them again.
        while not heirs and listed != before:
            before = listed
            listed = [pid for pid in children(os.getpid()) if pid not in strangers]
            heirs = [pid for pid in listed if _is_living_child(pid)]
        self.guard(heirs)
        return heirs

    def guard(self, pids: Iterable[int]) -> None:
        """When we are killed, the process groups of *pids* get TERM, and nobody else any more.

        As PDEATHSIG does it for the target, which its children do not inherit.
        """
        before, self._words = self._words, []
        owners = dict.fromkeys(map(_group, pids))
        for owner in list(owners)[:_MOST_GUARDED]:
            for signum in (signal.SIGTERM, signal.SIGCONT):  # or a stopped one would not act on it
                try:
                    self._words.append(leave_word(owner, signum))
                except ProcessLookupError:
                    break  # all of the group have ended meanwhile
        for words in before:
            take_back(words)

    def close(self) -> None:
        """The target has ended, and so do we: what it left is systemd's affair."""
        self.guard(())

    def _read(self) -> int:
        """The number in the first line, as systemd reads it (systemd.service(5), PIDFile=); 0 when
        there is none."""
        try:
            # A fifo must not keep us waiting.
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            self.reason = f"cannot be read: {os.strerror(error.errno or 0).lower()}"
            return 0
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                self.reason = "is no file"
                return 0
            if _identity(status) == self._stale:
                self.reason = "was there before the target, and has not changed since"
                return 0
            text = os.read(fd, _READ_SIZE)
        except OSError as error:
            self.reason = f"cannot be read: {os.strerror(error.errno or 0).lower()}"
            return 0
        finally:
            os.close(fd)
        number = text.partition(b"\n")[0].strip(b" \t\r")
        if not (number.isdigit() and len(number) <= _MOST_DIGITS and int(number)):
            self.reason = "has no pid in its first line" if text else "is empty"
            return 0
        return int(number)


def _identify(path: str) -> tuple[int, ...]:
    try:
        return _identity(os.stat(path))
    except OSError:
        return ()


def _identity(status: os.stat_result) -> tuple[int, ...]:
    # Without a clock: the time may be set while we wait.
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


def _is_living_child(pid: int) -> bool:
    """Asks the kernel rather than /proc: it may be hidden. Changes nothing for the one who reaps.

    Source: waitid(2); WNOWAIT leaves a dead child as it is.
    """
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (ChildProcessError, OverflowError):
        return False
    return found is None


def _group(pid: int) -> int:
    """Whom to signal for it: its process group, unless that is ours too."""
    try:
        group = os.getpgid(pid)
    except ProcessLookupError:
        return pid
    return pid if group == os.getpgrp() else -group
