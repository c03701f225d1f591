"""How the wrapper ends: as the target ended, exactly."""

from __future__ import annotations

from notifywrap.lean import NamedTuple

__all__ = ["CANNOT_EXECUTE", "FAILED", "NOT_FOUND", "USAGE", "ExitStatus", "from_wait"]

# Our own statuses, as env(1), nohup(1) and timeout(1) use them. The target's own are never changed.
USAGE = 2
FAILED = 125
CANNOT_EXECUTE = 126
NOT_FOUND = 127


class ExitStatus(NamedTuple):
    """An end by exit status *code*, or by signal number *signum* when that is not 0."""

    code: int = 0
    signum: int = 0

    @property
    def shell_code(self) -> int:
        """What is left of it where a process cannot kill itself (pid 1 of a container): 128 + n
        for a signal."""
        return 128 + self.signum if self.signum else self.code


def from_wait(status: int) -> ExitStatus:
    """The end that a wait(2) status of a dead process describes."""
    signum = status & 0x7F
    return ExitStatus(0, signum) if signum else ExitStatus(status >> 8 & 0xFF, 0)
