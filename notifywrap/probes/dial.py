"""A non-blocking connection to the first of several addresses that takes it; its polite end."""

from __future__ import annotations

import errno
import select

from notifywrap.lean import TYPE_CHECKING, os, socket
from notifywrap.policy.events import Outcome, Sample

if TYPE_CHECKING:
    from notifywrap.policy.probe import GrpcProbe, HttpProbe, TcpProbe, UnixProbe
    from notifywrap.probes.target import Target

__all__ = ["Dial", "hang_up", "is_unheard", "show"]

_STREAM = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
_NOBODY = (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR)
# Our own weather or configuration; the target has not been asked. EADDRNOTAVAIL: no IPv6 here, or
# no port left.
_OURS = (
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.ENAMETOOLONG,
    errno.EINVAL,
)
_LAST_RETRY_S = 0.1
_RETRY_S = 0.002  # an AF_UNIX listener whose queue is full: there is no event for "has room again"
_DRAIN_SIZE = 16384


class Dial:
    """Tries the addresses in order until one takes the connection.

    connected     the connection is made
    was_reset     connected, and reset at once (ECONNRESET comes after the handshake)
    where         the address that is being tried, as text
    here, there   TCP: both ends of the connection, once connected
    wake_after_s  as in Attempt, while not connected
    """

    def __init__(self, probe: TcpProbe | UnixProbe | HttpProbe | GrpcProbe) -> None:
        self.probe = probe
        self.path: str = getattr(probe, "path", "")
        self._addresses: list[tuple[str, int]] = [] if self.path else list(probe.addresses)  # type: ignore[union-attr]
        self._failures: list[tuple[str, int]] = []
        self.connected = self.was_reset = False
        self.where = ""
        self.wake_after_s: float | None = None
        self._retry_s = _RETRY_S
        self.socket: socket.socket | None = None
        self._address: tuple[str, int] | bytes = b""
        self.here = self.there = ("", 0)
        self._next()

    @property
    def wants(self) -> int:
        """POLLOUT while the handshake is under way."""
        return 0 if self.connected or self.wake_after_s is not None else select.POLLOUT

    def fileno(self) -> int:
        """The socket; -1 while waiting to try again: poll(2) reports an idle one as hung up."""
        waits = self.wake_after_s is not None and not self.connected
        return -1 if self.socket is None or waits else self.socket.fileno()

    def advance(self) -> Sample | None:
        """Go on.

        A Sample when no address takes the connection, None while waiting and when connected.
        """
        while self.socket is not None and not self.connected:
            self.wake_after_s = None
            code = self._connect(self.socket)
            if code in (0, errno.EISCONN, errno.ECONNRESET):
                self.connected = True
                self.was_reset = code == errno.ECONNRESET
                return self._check_self()
            if code in (errno.EINPROGRESS, errno.EALREADY, errno.EINTR):
                return None
            if code == errno.EAGAIN and self.path:
                self._retry_s = self.wake_after_s = min(self._retry_s * 2, _LAST_RETRY_S)
                return None
            self._give_up(code)
        return None if self.connected else self._failure()

    def overdue(self) -> Sample:
        """Not connected in time."""
        queue = ", its queue is full" if self.wake_after_s else ""
        return Sample(Outcome.TIMED_OUT, f"{self.where} does not take the connection{queue}")

    def close(self) -> None:
        """Hang up."""
        if self.socket is not None:
            if self.connected:
                hang_up(self.socket)
            self.socket.close()
        self.socket = None

    def _connect(self, connection: socket.socket) -> int:
        """One step of connect(2), as its errno.

        On loopback the handshake is over before the first call is back with EINPROGRESS: asking
        again at once spares a wake-up.
        """
        code = connection.connect_ex(self._address)
        return connection.connect_ex(self._address) if code == errno.EINPROGRESS else code

    def _next(self) -> None:
        """Make the socket for the next address; none when there is no further one."""
        self.socket = None
        while self.socket is None and (self.path or self._addresses):
            if self.path:
                family, self._address, self.where = socket.AF_UNIX, _unix_name(self.path), self.path
            else:
                self._address = self._addresses.pop(0)
                family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
                self.where = show(self._address)
            try:
                self.socket = socket.socket(family, _STREAM)
            except OSError as error:
                self._failures.append((self.where, error.errno or 0))
                if self.path:
                    return

    def _give_up(self, code: int) -> None:
        self._failures.append((self.where, code))
        self.close()
        if not self.path:
            self._next()

    def _failure(self) -> Sample:
        """One sample for all addresses.

        It failed if any of them said no, it is broken if none could be asked.
        """
        heard = [failure for failure in self._failures if failure[1] not in _OURS]
        reasons = [
            f"{where} {os.strerror(code).lower()}" for where, code in heard or self._failures
        ]
        nobody = bool(heard) and all(code in _NOBODY for _, code in heard)
        return Sample(
            Outcome.FAILED if heard else Outcome.BROKEN, ", ".join(reasons[:3]), unheard=nobody
        )

    def _check_self(self) -> Sample | None:
        """A connection to a free ephemeral port can meet itself (simultaneous open)."""
        assert self.socket is not None
        if self.path:
            return None
        self.here = self.socket.getsockname()[:2]
        try:
            self.there = self.socket.getpeername()[:2]
        except OSError:
            assert isinstance(self._address, tuple)
            # ENOTCONN: reset in the same instant, which reading from it will tell
            self.there = self._address
        if self.here == self.there:
            return Sample(
                Outcome.FAILED, f"{self.where} connected to itself: nobody listens", unheard=True
            )
        return None


def is_unheard(probe: TcpProbe | UnixProbe | HttpProbe | GrpcProbe, target: Target) -> bool:
    """Would a connection for *probe* certainly be refused? Without making one, so on the loopback
    only: what is elsewhere the kernel's tables do not say.

    Raises no OSError.
    """
    path: str = getattr(probe, "path", "")
    if path:
        return not (path.startswith("@") or os.path.exists(path))
    try:
        return all(
            (host == "::1" or host.startswith("127.")) and target.sockets().is_deaf(host, port)
            for host, port in probe.addresses  # type: ignore[union-attr]
        )
    except OSError:
        return False


def show(address: tuple[str, int]) -> str:
    """An address as people write it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unix_name(path: str) -> bytes:
    name = os.fsencode(path)
    return b"\0" + name[1:] if name[:1] == b"@" else name


def hang_up(connection: socket.socket) -> None:
    """End a connection so that the server sees an orderly end.

    Closing with unread data makes the kernel send a reset, which daemons log as an error: so read a
    bounded amount.
    """
    try:
        connection.shutdown(socket.SHUT_WR)
        for _ in range(16):
            if not connection.recv(_DRAIN_SIZE):
                break
    except OSError:
        pass  # EAGAIN: nothing left to read; ENOTCONN, ECONNRESET: the server was faster
