"""The kernel's socket tables: who listens, and has the server's end of a connection been accepted.

Two ways lead there, netlink (20 us) and /proc/self/net (up to 8 ms); `open_sockets` takes the best
one that is open.
"""

from __future__ import annotations

import errno

from notifywrap.lean import NamedTuple, socket

__all__ = [
    "CLOSE_WAIT",
    "ESTABLISHED",
    "LISTEN",
    "SYN_RECV",
    "Blind",
    "KernelSockets",
    "Listener",
    "TcpEnd",
    "is_mapped",
    "open_sockets",
    "show_address",
]

# enum in the kernel's include/net/tcp_states.h; AF_UNIX uses the same numbers
ESTABLISHED, SYN_RECV, CLOSE_WAIT, LISTEN = 1, 3, 8, 10

# What it looks like when a sandbox (RestrictAddressFamilies=, seccomp) or the kernel's
# configuration bars the way. Anything else, such as EMFILE, is weather: it says nothing about the
# next time.
_BARRED = (
    errno.EACCES,
    errno.EPERM,
    errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT,
    errno.EOPNOTSUPP,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EINVAL,
    errno.ENOSYS,
)


class TcpEnd(NamedTuple):
    """One end of a TCP connection as the kernel sees it.

    inode   0 while no application holds it: not accepted yet, or closed already
    queued  LISTEN: connections that wait for accept()
    limit   LISTEN: how many may wait; -1 when that cannot be told
    """

    state: int
    inode: int
    queued: int = 0
    limit: int = -1

    @property
    def is_full(self) -> bool:
        """Whether a listener's queue takes no more: sk_acceptq_is_full() in net/sock.h."""
        return self.queued > self.limit if self.limit >= 0 else self.queued > 0


class Listener(NamedTuple):
    """One listening socket.

    host    numeric address, an IPv4-mapped one as IPv4; "" for AF_UNIX
    path    AF_UNIX: as it was bound, "@name" when abstract; "" for TCP
    uid     of the process that made it
    file    AF_UNIX: (inode, device) of the socket file, which survives renaming; (0, 0) when not
            known
    queued, limit  as in TcpEnd
    """

    host: str
    port: int
    path: str
    inode: int
    uid: int
    queued: int = 0
    limit: int = -1
    file: tuple[int, int] = (0, 0)

    @property
    def is_full(self) -> bool:
        """Whether the queue takes no more."""
        return TcpEnd(LISTEN, 0, self.queued, self.limit).is_full


class KernelSockets:
    """What can be asked about sockets, whichever way it is found out.

    blind  why nothing can be asked; "" when it can
    """

    blind = ""

    def wait_s(self) -> float:
        """Seconds until the next question may be asked without costing too much."""
        return 0.0

    def tcp_end(self, here: tuple[str, int], there: tuple[str, int]) -> TcpEnd | None:
        """The server's end of our connection from *here* to *there*.

        None when this kernel does not have it.
        """
        raise NotImplementedError

    def tcp_listeners(self, port: int = 0) -> list[Listener]:
        """Everyone who listens on this TCP port; on any, when it is 0."""
        raise NotImplementedError

    def is_silent(self, port: int) -> bool:  # noqa: ARG002
        """Whether certainly nobody listens on this TCP port; False where a look costs too much."""
        return False

    def is_deaf(self, host: str, port: int) -> bool:  # noqa: ARG002
        """Whether certainly nobody listens who would get a connection to this loopback address."""
        return False

    def unix_accepted(self, inode: int, path: str) -> bool:
        """Whether the server at *path* has accepted the connection of our socket *inode*."""
        raise NotImplementedError

    def unix_listeners(self) -> list[Listener]:
        """Every AF_UNIX stream socket that listens."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what is kept open."""


class Blind(KernelSockets):
    """No way is open."""

    def __init__(self, blind: str) -> None:
        self.blind = blind


def open_sockets() -> KernelSockets:
    """The best way to the kernel's tables that is open.

    Raises OSError when trying failed for another reason.
    """
    from notifywrap.probes.sockdiag import SockDiag

    try:
        return SockDiag()
    except OSError as error:
        if error.errno not in _BARRED:
            raise
    from notifywrap.probes.procnet import ProcNet

    try:
        return ProcNet()
    except OSError as error:
        if error.errno not in _BARRED:
            raise
    return Blind("neither AF_NETLINK nor /proc/self/net is within reach")


def is_mapped(packed: bytes) -> bool:
    """Whether these 16 bytes are an IPv4 address in IPv6 clothes (::ffff:127.0.0.1)."""
    return packed[:12] == b"\0" * 10 + b"\xff\xff"


def show_address(packed: bytes) -> str:
    """4 or 16 bytes as a numeric address; an IPv4-mapped one as IPv4."""
    if len(packed) == 16 and is_mapped(packed):
        packed = packed[12:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
