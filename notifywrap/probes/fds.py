"""How near is any process of the target's tree to the limit of its open files."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes import Attempt
from notifywrap.probes.hidden import HAS_ENDED, is_zombie, look_at
from notifywrap.probes.tree import members

if TYPE_CHECKING:
    from notifywrap.policy.probe import FdsProbe
    from notifywrap.probes.target import Target

__all__ = ["FdsAttempt", "count_fds", "list_fds", "most_fds"]

_UNLIMITED = 1 << 63


class FdsAttempt(Attempt):
    """Counts once, process by process: each has a limit of its own (RLIMIT_NOFILE, the soft one).

    Before Linux 6.2 the fds of a process with other privileges than ours cannot be counted
    (CAP_SYS_PTRACE). How many it has at most is public, and mostly answers the question; where it
    does not the probe is BROKEN, so that no ping goes out: a limit that somebody has asked for and
    nobody checks would show only in the night of the leak, while this shows when it is set up.
    """

    def __init__(self, probe: FdsProbe, target: Target) -> None:
        self._share = probe.percent / 100
        self._target = target

    def _step(self) -> Sample:
        broken = ""
        is_running = False
        for pid in members(self._target):
            limit, hidden = look_at(pid, _limit)
            if limit:
                count, hidden = look_at(pid, count_fds)
                is_running |= count > 0 or not is_zombie(pid)
                if count > limit * self._share:
                    return Sample(Outcome.FAILED, f"pid {pid} has {count} of {limit} fds open")
                if hidden and look_at(pid, most_fds)[0] <= limit * self._share:
                    hidden = HAS_ENDED  # it need not be counted
            if hidden:
                broken = f"cannot count the fds of pid {pid}: {hidden}"
        if broken:
            return Sample(Outcome.BROKEN, broken)
        return Sample(Outcome.PASSED) if is_running else Sample(Outcome.FAILED, "not running")


def _limit(directory: str) -> int:
    """The soft RLIMIT_NOFILE. Source: proc_pid_limits(5); all may read it."""
    with open(f"{directory}/limits", "rb", buffering=0) as file:
        words = file.read(4096).partition(b"Max open files")[2].split(None, 1)
    return int(words[0]) if words[0] != b"unlimited" else _UNLIMITED


def count_fds(directory: str) -> int:
    """How many it has open. Since Linux 6.2 the size of the directory is that number, for all to
    see and without a walk (25 us for 10,000 of them); before it is 0."""
    return os.stat(f"{directory}/fd").st_size or list_fds(directory)


def list_fds(directory: str) -> int:
    """The same on every kernel, for those who may look: one entry each."""
    return len(os.listdir(f"{directory}/fd"))


def most_fds(directory: str) -> int:
    """How many it may have open at most: the slots of its table. Source: proc_pid_status(5)."""
    with open(f"{directory}/status", "rb", buffering=0) as file:
        return int(file.read(4096).partition(b"FDSize:")[2].split(None, 1)[0])
