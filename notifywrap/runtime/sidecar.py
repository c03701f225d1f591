"""The supervisor of a target that it is not the parent of (`--main target`): it watches, and tells
systemd. Signals, the exit status and the end of what is left are systemd's affair."""

from __future__ import annotations

import select
import time

from notifywrap.lean import TYPE_CHECKING, os, signal
from notifywrap.policy.events import Level, TargetNotified
from notifywrap.policy.exits import FAILED, ExitStatus
from notifywrap.runtime.signals import CAUGHT, SignalPipe
from notifywrap.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from notifywrap.policy.spec import Spec
    from notifywrap.probes.target import Target
    from notifywrap.protocol.notify import Notifier
    from notifywrap.runtime.loop import Part

__all__ = ["Sidecar", "settle"]


class TargetEnd(SignalPipe):
    """In the place of signals, of which there are none: wakes the loop up when the target ends."""

    def __init__(self, pidfd: int) -> None:
        self._pidfd = pidfd
        self._poll = select.poll()
        self._poll.register(pidfd, select.POLLIN)

    def fileno(self) -> int:
        """The target's pidfd: readable once all of its threads have ended (pidfd_open(2))."""
        return self._pidfd

    def read(self) -> bytes:
        """No signals."""
        return b""

    def has_come(self) -> bool:
        """Has the target ended?"""
        return bool(self._poll.poll(0))


class Sidecar(Supervisor):
    """Looks after a target that systemd looks after as well; ends when it does.

    pidfd  of the target
    """

    def __init__(
        self,
        spec: Spec,
        target: Target,
        pidfd: int,
        notifier: Notifier | None,
        say: Callable[[Level, str], None],
        parts: Sequence[Part],
    ) -> None:
        self._target_end = TargetEnd(pidfd)
        super().__init__(spec, target, self._target_end, notifier, say, parts)
        self._reaped = True  # by systemd, and nothing is ours to be signalled

    def _reap(self) -> None:
        """Exec probes; and the end of the target, which is ours.

        Only systemd learns how it ended, so nothing is said of that.
        """
        super()._reap()
        if self._status is not None or not self._target_end.has_come():
            return
        for part in self._parts:
            part.drain()
        told = [event for event in self._events if type(event) is TargetNotified]
        self._events = []  # a dead target must not become ready
        for event in told:
            last_words = event._replace(dying=True)
            self._perform(self._machine.handle(last_words, time.monotonic()))
        self._status = ExitStatus()

    def _stop_target(self, reason: str) -> ExitStatus:  # noqa: ARG002 - has been said
        """Not ours to stop: without pings systemd acts, if it was asked to."""
        text = "the sidecar ends: there are no more pings, and systemd acts after WatchdogSec="
        self._say(Level.ERROR, text)
        return ExitStatus(FAILED)


def settle() -> None:
    """Be nothing to anybody but the target: no signal ends this process but KILL, and no descriptor
    of the target is kept open by it but stderr, for the journal.

    All signals are blocked around this call.
    """
    for signum in CAUGHT - {signal.SIGCHLD}:
        # TERM, ABRT and the like come to the whole cgroup (systemd.kill(5), KillMode=): this
        # process ends when the target does, and not before.
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1):
        os.dup2(null, fd)
    os.close(null)
    for fd in _inherited():
        os.close(fd)


def _inherited() -> list[int]:
    """What systemd has given to the service: all of ours are close-on-exec."""
    found = []
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        numbers = list(range(3, 1024))  # no /proc; systemd numbers them from 3
    for fd in numbers:
        try:
            if fd > 2 and os.get_inheritable(fd):
                found.append(fd)
        except OSError:
            pass  # EBADF: it was the listing's own
    return found
