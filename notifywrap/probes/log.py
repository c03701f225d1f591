"""Has the target logged a line that matches. The lines are read by runtime/logpump.py."""

from __future__ import annotations

import re
import select

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes import Attempt

if TYPE_CHECKING:
    from notifywrap.policy.probe import LogProbe
    from notifywrap.probes.target import Target

__all__ = ["LineWatch", "LogAttempt"]

_AGAIN_S = 0.5  # what is final need not be found out a hundred times a second
_CLOSED = Sample(Outcome.FAILED, "stdout and stderr were closed before a line matched")


class LineWatch:
    """A regular expression, and whether a line has matched it so far.

    fd    becomes readable, and stays so, when there is something to know
    came  has there been such a line?
    over  nothing can come any more: the target has closed its stdout and stderr
    """

    __slots__ = ("_search", "came", "fd", "over")

    def __init__(self, pattern: str) -> None:
        # `.*` in front of what is searched for anyway finds the same lines, but tries it from every
        # place of a line to its end: 2 s for one of 64 KiB, and 7 ms for one of 4 KiB.
        while pattern.startswith(".*") and pattern[2:3] not in ("?", "+", "*", "{"):
            pattern = pattern[2:]
        self._search = re.compile(pattern).search
        self.came = self.over = False
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def look(self, line: str) -> None:
        """The target has written this line."""
        if not self.came and self._search(line) is not None:
            self.came = True
            os.eventfd_write(self.fd, 1)

    def end(self) -> None:
        """That was the last line."""
        self.over = True
        os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        """May be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class LogAttempt(Attempt):
    """Waits for the line, unless it has come before."""

    def __init__(self, probe: LogProbe, target: Target) -> None:
        self._watch = target.lines[probe.pattern]
        self._has_to_wait = self._watch.over
        if self._has_to_wait:
            self.wake_after_s = _AGAIN_S

    @property
    def wants(self) -> int:
        return select.POLLIN

    def fileno(self) -> int:
        return -1 if self._watch.over else self._watch.fd

    def _step(self) -> Sample | None:
        if self._watch.came:
            return Sample(Outcome.PASSED)
        if self._watch.over and not self._has_to_wait:
            return _CLOSED
        self._has_to_wait = False
        return None

    def overdue(self) -> Sample:
        if self._watch.over:
            return _CLOSED
        return Sample(Outcome.TIMED_OUT, "nothing has matched yet")
