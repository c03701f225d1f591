"""The supervisor of a target that daemonizes or re-executes itself (`--pidfile`)."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Followed, Level, TargetExited
from notifywrap.policy.exits import ExitStatus
from notifywrap.runtime.process import pass_terminal
from notifywrap.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from notifywrap.policy.events import Follow
    from notifywrap.runtime.pidfile import PidFile

__all__ = ["Follower"]


class Follower(Supervisor):
    """Looks after a target, and after whoever succeeds it.

    pidfile  made before the target was started; give it with `follow_by()` before `run()`
    """

    _pidfile: PidFile
    _seeks = False  # has the one who was followed ended, and nobody is followed yet?

    def follow_by(self, pidfile: PidFile) -> None:
        """Go by *pidfile*. The target's process group ends with us from now on: a new process that
        the target starts in its own place is in it."""
        self._pidfile = pidfile
        pidfile.guard((self._pid,))

    def run(self) -> ExitStatus:
        """As the supervisor's: until the last one who was followed has ended."""
        status = super().run()
        if self._status is not None:  # else it is as if we were killed
            self._pidfile.close()
            if self._pidfile.reason:
                self._say(Level.NOTICE, f"{self._spec.pidfile}: {self._pidfile.reason}")
        return status

    def _reap(self) -> None:
        super()._reap()
        if self._seeks and not self._pidfile.find_heirs(self._target.strangers):
            self._seeks = False
            self._end_target(ExitStatus())  # the last of the tree has ended; the machine knows how

    def _end_target(self, status: ExitStatus) -> None:
        if self._terminal is not None:
            # It went into the background, or its successor did: ^C is for us now.
            pass_terminal(self._terminal, self._pid, os.getpgrp())
            self._terminal = None
        heirs = self._pidfile.find_heirs(self._target.strangers)
        if not heirs or not self._may_be_succeeded(status):
            super()._end_target(status)
            return
        self._pid, self._seeks = 0, True
        self._events.insert(0, TargetExited(status, heirs=True))

    def _may_be_succeeded(self, status: ExitStatus) -> bool:
        """Whoever fails is succeeded by whom the file names already: its workers, say, which it has
        left alone, will not write it."""
        return status == ExitStatus() or bool(self._pidfile.find(self._target.strangers))

    def _follow(self, _: Follow) -> None:
        pid = self._pidfile.find(self._target.strangers)
        if not pid or not self._seeks:
            return
        self._pid = self._target.pid = pid
        self._reaped = self._seeks = False
        self._target.relax()
        self._pidfile.guard((pid,))
        self._put(Followed(pid))
