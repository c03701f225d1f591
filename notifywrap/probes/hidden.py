"""What /proc tells of one process, or why it does not: it has ended, or somebody hides it."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.probes import why

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HAS_ENDED", "is_zombie", "look_at"]

HAS_ENDED = ""
_ALWAYS_THERE = "/proc/self/stat"


def look_at(pid: int, read: Callable[[str], int]) -> tuple[int, str]:
    """(what *read* finds in the process's directory, why it could not).

    The reason is HAS_ENDED for one that went away while we looked, and for a zombie: it has nothing
    any more. But where only the main thread has ended the others have all of it.
    """
    reason = HAS_ENDED
    found = 0
    try:
        found = read(f"/proc/{pid}")
    except OSError as error:
        reason = _find_out(pid, error)
    except IndexError:
        pass  # an empty file: it was reaped between open(2) and read(2)
    if found == 0 and not reason and is_zombie(pid):
        found = max(_tasks(pid, read), default=0)
    return found, reason


def _tasks(pid: int, read: Callable[[str], int]) -> list[int]:
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            if task != str(pid):
                found.append(read(f"/proc/{pid}/task/{task}"))
    except (OSError, IndexError):
        pass  # it ends just now
    return found


def _find_out(pid: int, error: OSError) -> str:
    if isinstance(error, ProcessLookupError) or is_zombie(pid):
        return HAS_ENDED
    if not isinstance(error, FileNotFoundError):
        return why(error)
    if not os.path.exists(_ALWAYS_THERE):
        return "there is no /proc"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return HAS_ENDED
    except PermissionError:
        pass  # it lives, under another user
    return "hidden from us (ProtectProc=, hidepid=)"


def is_zombie(pid: int) -> bool:
    """Has it, or its main thread, ended?"""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read(1024).rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return False
