"""Does the target listen: a look into the kernel's tables, no connection."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes import Attempt
from notifywrap.probes.ownership import Owner, matching, whose

if TYPE_CHECKING:
    from notifywrap.policy.probe import ListenProbe
    from notifywrap.probes.sockets import KernelSockets, Listener
    from notifywrap.probes.target import Target

__all__ = ["ListenAttempt", "at_path"]

_LOOK_AGAIN_S = 0.005


class ListenAttempt(Attempt):
    """Looks once.

    Again only where looking is rationed (/proc/self/net, a target with thousands of fds).
    """

    def __init__(self, probe: ListenProbe, target: Target) -> None:
        self._probe = probe
        self._target = target

    def overdue(self) -> Sample:
        return Sample(Outcome.TIMED_OUT, "the listening sockets could not be looked up in time")

    def is_still_unheard(self) -> bool:
        if self._probe.path:
            return False
        if self._target.pid:
            self._target.owners()  # its module is loaded now, and not between listen() and READY=1
        try:
            return self._target.sockets().is_silent(self._probe.port)
        except OSError:
            return False

    def _step(self) -> Sample | None:
        sockets = self._target.sockets()
        if sockets.blind:
            return Sample(Outcome.BROKEN, f"cannot see who listens: {sockets.blind}")
        self.wake_after_s = sockets.wait_s()
        if self.wake_after_s:
            return None
        listeners = self._listeners(sockets)
        if not listeners:
            return Sample(Outcome.FAILED, "nobody listens", unheard=True)
        if not self._target.pid:
            return Sample(Outcome.PASSED, note="whose socket it is was not checked")
        return self._judge(listeners)

    def _listeners(self, sockets: KernelSockets) -> list[Listener]:
        probe = self._probe
        if probe.path:
            return at_path(sockets.unix_listeners(), probe.path)
        return matching(sockets.tcp_listeners(probe.port), probe.host, probe.port)

    def _judge(self, listeners: list[Listener]) -> Sample | None:
        owner, text = whose(listeners, self._target)
        if owner is Owner.UNDECIDED:
            self.wake_after_s = _LOOK_AGAIN_S
            return None
        if owner is Owner.TARGET:
            return Sample(Outcome.PASSED)
        if owner is Owner.LIKELY:
            return Sample(Outcome.PASSED, note=text)
        if owner is Owner.INHERITED:
            reason = "the socket was inherited: that it listens proves nothing (use tcp: or unix:)"
            return Sample(Outcome.FAILED, reason)
        return Sample(Outcome.FAILED, text)


def at_path(listeners: list[Listener], path: str) -> list[Listener]:
    """Those of the AF_UNIX *listeners* at *path*, also when the file was renamed after bind()."""
    file = (0, 0)
    if not path.startswith("@"):
        try:
            status = os.stat(path)
        except OSError:
            return []
        # The kernel gives the low half of the inode number, and the device as it is inside (20 bits
        # for the minor).
        file = (status.st_ino & 0xFFFFFFFF, os.major(status.st_dev) << 20 | os.minor(status.st_dev))
    return [
        listener
        for listener in listeners
        if listener.path == path or (any(file) and listener.file == file)
    ]
