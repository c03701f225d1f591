"""What probes know of the target, and what their attempts share from one to the next."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, os

if TYPE_CHECKING:
    from notifywrap.policy.events import Sample
    from notifywrap.probes.fd import Newline
    from notifywrap.probes.log import LineWatch
    from notifywrap.probes.sockets import KernelSockets
    from notifywrap.probes.tree import Owners

__all__ = ["Target"]


class Target:
    """The process that is probed.

    pid        the target's pid; 0 when there is none and only the outside is probed (`notifywrap
               probe`)
    inherited  inodes of the listening sockets it was started with (socket activation): that these
               listen proves nothing
    sockets    how to ask the kernel about sockets; None: find out when it is first needed
    strangers  pids of the wrapper's children that are no orphans of the target: exec probes put
               theirs here
    lines      what `log:` probes wait for: the regular expression -> who watches for it
    newlines   what `fd:` probes wait for: the descriptor's number -> its pipe
    """

    def __init__(
        self,
        pid: int = 0,
        inherited: frozenset[int] = frozenset(),
        sockets: KernelSockets | None = None,
    ) -> None:
        self.pid = pid
        self.wrapper_pid = os.getpid()
        self.inherited = inherited
        self.strangers: set[int] = set()
        self.lines: dict[str, LineWatch] = {}
        self.newlines: dict[int, Newline] = {}
        self.last_found: tuple[frozenset[int], Sample] | None = None  # discovery's last answer
        self.listened_before: frozenset[int] | None = None  # inodes, at discovery's first look
        self._sockets = sockets
        self._owners: Owners | None = None

    def sockets(self) -> KernelSockets:
        """The kernel's socket tables, by the best way that is open to us.

        Raises OSError (EMFILE, ENOBUFS).
        """
        if self._sockets is None:
            from notifywrap.probes.sockets import open_sockets

            self._sockets = open_sockets()
        return self._sockets

    def owners(self) -> Owners:
        """Which sockets the target's process tree holds."""
        if self._owners is None:
            from notifywrap.probes.tree import Owners

            self._owners = Owners(self)
        return self._owners

    def relax(self) -> None:
        """Give back what was remembered for speed while starting.

        What is needed again is found again.
        """
        self._owners = self.last_found = None

    def close(self) -> None:
        """Close what attempts shared. May be called again; a later attempt opens it anew."""
        if self._sockets is not None:
            self._sockets.close()
        self._sockets = None
        self.relax()
