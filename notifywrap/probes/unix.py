"""Does the target accept an AF_UNIX stream connection.

As tcp, by the inode of the other end (unix_diag).
"""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes.listen import at_path
from notifywrap.probes.tcp import ConnectAttempt

if TYPE_CHECKING:
    from notifywrap.probes.sockets import KernelSockets, Listener

__all__ = ["UnixAttempt"]


class UnixAttempt(ConnectAttempt):
    """Passes when the socket that connect() made for the server has been accepted."""

    def _look(self, sockets: KernelSockets) -> Sample | None:
        inode = os.fstat(self._connection().fileno()).st_ino
        return Sample(Outcome.PASSED) if sockets.unix_accepted(inode, self._dial.path) else None

    def _after_reset(self, sockets: KernelSockets) -> Sample | None:  # noqa: ARG002
        # The listener went away with our connection in its queue, or the server closed with unread
        # data: we sent none.
        return Sample(Outcome.FAILED, f"{self._dial.where} connection reset")

    def _listeners(self, sockets: KernelSockets) -> list[Listener]:
        return at_path(sockets.unix_listeners(), self._dial.path)
