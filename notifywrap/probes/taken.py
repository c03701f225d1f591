"""Has the target taken the signal that it was sent, and has it done what it does then."""

from __future__ import annotations

import time

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Outcome, Sample
from notifywrap.policy.probe import LOOKUP_PACE
from notifywrap.probes import Attempt
from notifywrap.probes.tree import members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.policy.probe import TakenProbe
    from notifywrap.probes.target import Target

__all__ = ["TakenAttempt"]

# A target with a thread that never sleeps would never come to rest; it has had its time to act.
_UNREST_MOST_S = 2.0
_BUSY = b"RD"  # proc_pid_status(5): running, waiting for a CPU, or for a disk
# Who sleeps for a while, and not until something happens, is in the middle of something: nginx'
# master gives its new workers 100 ms before it tells the old ones. proc_pid_wchan(5): a function.
_PAUSING = b"nanosleep"
_READ_SIZE = 8192


class TakenAttempt(Attempt):
    """Passes when the signal is no longer pending and the tree has come to rest after it.

    That a handler has run proves little: most only set a flag. So each thread of the target must be
    seen asleep once, then each thread of its whole tree: whoever was told something by the target
    is runnable until he has acted on it. (nginx: the old workers answer until the master's message
    has reached them.) Rest is waited for 2 s at most.
    """

    def __init__(self, probe: TakenProbe, target: Target) -> None:
        self._target = target
        self._signum = probe.signum
        self._is_taken = False
        self._began = time.monotonic()
        self._waits = self._wait()

    def overdue(self) -> Sample:
        if self._is_taken:
            return Sample(Outcome.PASSED)
        return Sample(Outcome.TIMED_OUT, "the target has not taken it yet")

    def _step(self) -> Sample | None:
        try:
            for _ in self._waits:
                self.wake_after_s = LOOKUP_PACE.interval_s(time.monotonic() - self._began)
                return None
        except OSError:
            return Sample(
                Outcome.PASSED, note="/proc is hidden: when a reload begins could not be told"
            )
        return Sample(Outcome.PASSED)

    def _wait(self) -> Iterator[None]:
        """Ends when there is nothing left to wait for."""
        while _is_pending(self._target.pid, self._signum):
            yield
        self._is_taken = True
        give_up_at = time.monotonic() + _UNREST_MOST_S
        for pids in ([self._target.pid], None):  # the tree as it is when the target rests
            unseen = [task for pid in pids or members(self._target) for task in _tasks(pid)]
            while unseen := [task for task in unseen if _is_busy(task)]:
                if time.monotonic() >= give_up_at:
                    return
                yield


def _is_pending(pid: int, signum: int) -> bool:
    """Source: proc_pid_status(5). kill(2) puts a signal into ShdPnd, until one thread takes it."""
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith(b"ShdPnd:"):
            return bool(int(line.split()[1], 16) >> (signum - 1) & 1)
    return False


def _tasks(pid: int) -> list[tuple[int, int]]:
    try:
        return [(pid, int(name)) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []  # it has ended meanwhile, or is hidden from us


def _is_busy(task: tuple[int, int]) -> bool:
    pid, tid = task
    directory = f"/proc/{pid}/task/{tid}"
    try:
        status = _read(f"{directory}/status")
        if status.partition(b"\nState:\t")[2][:1] in _BUSY:
            return True
        if pid != tid:  # Go has a thread that looks after the others and sleeps like that
            return False
        where = _read(f"{directory}/wchan")
        if _PAUSING in where or (where == b"0" and _may_look(pid)):
            return True  # 0: it is just going to sleep, or waking up
        # It ran in between if it was switched to and away again: then that was another sleep.
        return _switches(status) != _switches(_read(f"{directory}/status"))
    except OSError:
        return False  # ESRCH, ENOENT: it has ended meanwhile


def _may_look(pid: int) -> bool:
    """Is wchan told to us? It takes what a look at the executable takes: PTRACE_MODE_READ."""
    try:
        os.readlink(f"/proc/{pid}/exe")
    except PermissionError:
        return False
    return True


def _switches(status: bytes) -> bytes:
    return status.partition(b"\nvoluntary_ctxt_switches:")[2]


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _READ_SIZE)
    finally:
        os.close(fd)
