"""Has the target written a newline to a descriptor that it was given: readiness as s6 has it.

Source: https://skarnet.org/software/s6/notifywhenup.html. What stands before the newline means
nothing, and once it has come nobody reads any more: the pipe is closed, as s6-supervise does, and a
target that goes on writing gets EPIPE.
"""

from __future__ import annotations

import select

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes import Attempt

if TYPE_CHECKING:
    from notifywrap.policy.probe import FdProbe
    from notifywrap.probes.target import Target

__all__ = ["FdAttempt", "Newline"]

_READ_SIZE = 4096
_AGAIN_S = 0.5  # what is final need not be found out a hundred times a second
_MOST_READS = 16  # at one go: a target that writes without end must not keep the loop


class Newline:
    """The reading end of one such pipe. It outlives the attempts: what came between two counts.

    fd    -1 once it is closed
    came  has there been a newline?
    """

    __slots__ = ("came", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.came = False

    def read(self) -> None:
        """Read what is there. Raises OSError only for what is not the target's doing."""
        for _ in range(_MOST_READS):
            if self.fd < 0:
                return
            try:
                data = os.read(self.fd, _READ_SIZE)
            except BlockingIOError:
                return
            self.came = b"\n" in data
            if self.came or not data:
                self.close()

    def close(self) -> None:
        """Read no more. May be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class FdAttempt(Attempt):
    """Waits for the newline."""

    def __init__(self, probe: FdProbe, target: Target) -> None:
        self._number = probe.fd
        self._newline = target.newlines[probe.fd]
        self._has_to_wait = self._is_over
        if self._has_to_wait:
            self.wake_after_s = _AGAIN_S

    @property
    def wants(self) -> int:
        return select.POLLIN

    def fileno(self) -> int:
        return self._newline.fd

    @property
    def _is_over(self) -> bool:
        return self._newline.fd < 0 and not self._newline.came

    def _step(self) -> Sample | None:
        self._newline.read()
        if self._newline.came:
            return Sample(Outcome.PASSED)
        if self._is_over and not self._has_to_wait:
            return self._closed()
        self._has_to_wait = False
        return None

    def _closed(self) -> Sample:
        return Sample(Outcome.FAILED, f"closed fd {self._number} without a newline")

    def overdue(self) -> Sample:
        if self._is_over:
            return self._closed()
        return Sample(Outcome.TIMED_OUT, "no newline yet")
