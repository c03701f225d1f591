"""Signals: blocked around the fork, then caught as bytes on a pipe, in the order in which the
kernel delivered them."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, os, signal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ALL", "CAUGHT", "NAMES", "SignalPipe", "block_all", "is_handled_by", "restore_mask"]

# All that can be caught but the faults, which are about the wrapper itself: a handler would return
# to the faulting
# instruction for ever. 32 and 33 belong to the C library's threads (nptl(7)).
ALL = frozenset(signal.valid_signals())
_FAULTS = frozenset((signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL))
CAUGHT = ALL - _FAULTS - {signal.SIGKILL, signal.SIGSTOP, 32, 33}

NAMES = {
    **{
        getattr(signal, name): name[3:]
        for name in dir(signal)
        if name.startswith("SIG")
        and name[3:].isalnum()
        and name not in ("SIGCLD", "SIGPOLL", "SIGIOT")
    },
    **{
        number: f"RTMIN+{number - signal.SIGRTMIN}"
        for number in range(signal.SIGRTMIN + 1, signal.SIGRTMAX)
    },
}


def block_all() -> Iterable[int]:
    """Hold every signal back until `restore_mask()`. Returns the mask as it was found."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, ALL)


def restore_mask(mask: Iterable[int]) -> None:
    """Let through what `block_all()` held back."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class SignalPipe:
    """Every signal in CAUGHT becomes a byte.

    The bytes that the C handler writes are the record. Python's own handlers run later, sorted by
    number and merged,
    so they are empty.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for signum in CAUGHT:
            signal.signal(signum, _nothing)

    def fileno(self) -> int:
        """What to poll for reading."""
        return self._read

    def read(self) -> bytes:
        """The numbers of the signals that have come since, oldest first."""
        try:
            return os.read(self._read, 4096)
        except BlockingIOError:
            return b""


def _nothing(signum: int, frame: object) -> None:
    pass


def is_handled_by(pid: int, signum: int) -> bool:
    """Has process *pid* a handler for *signum*? True where that cannot be known (no /proc), and for
    0, which is no signal and harms nobody.

    Source: proc(5), SigCgt in /proc/pid/status.
    """
    if not signum:
        return True
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            text = file.read(8192)
    except OSError:
        return True
    _, found, rest = text.partition(b"\nSigCgt:")
    return not found or bool(int(rest.split(None, 1)[0], 16) >> (signum - 1) & 1)
