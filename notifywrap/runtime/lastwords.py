"""What the kernel does for us when we are gone, even by KILL: it signals somebody."""

from __future__ import annotations

import fcntl

from notifywrap.lean import os

__all__ = ["leave_word", "take_back"]


def leave_word(owner: int, signum: int) -> tuple[int, ...]:
    """When this process ends, *owner* (a pid, or the negative of a process group) gets *signum*.

    Returns what to give to `take_back()`. These are two ends of a pipe that only we hold: whichever
    the kernel closes first, the other one tells it to signal the owner (fcntl(2), F_SETSIG). It
    goes by the process itself, not by its number: nobody else with that number is ever meant.
    """
    try:
        ends = os.pipe2(os.O_CLOEXEC)
    except OSError:
        return ()  # EMFILE: what needs descriptors more will say so
    try:
        for fd in ends:
            fcntl.fcntl(fd, fcntl.F_SETSIG, signum)
            fcntl.fcntl(fd, fcntl.F_SETOWN, owner)
            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_ASYNC)
    except ProcessLookupError:  # there is no such owner any more
        take_back(ends)
        return ()
    return ends


def take_back(ends: tuple[int, ...]) -> None:
    """Nobody is to be signalled any more."""
    for fd in ends:
        fcntl.fcntl(fd, fcntl.F_SETOWN, 0)
    for fd in ends:
        os.close(fd)
