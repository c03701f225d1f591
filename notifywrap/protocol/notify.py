"""Sending a datagram to whoever NOTIFY_SOCKET names. Never blocks on AF_UNIX, decides nothing."""

from __future__ import annotations

import errno
import sys

from notifywrap.errors import NotifyError
from notifywrap.lean import TYPE_CHECKING, NamedTuple, os, socket

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from typing import Self

__all__ = ["Address", "Notifier", "parse_address"]

_PATH_LIMIT = (
    107  # bytes; sun_path is 108: a path ends with a NUL, an abstract name starts with one
)
_FLAGS = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT
_VSOCK_TIMEOUT_S = 0.25  # the other end is the host of this machine: it answers at once or not
_ANY = 0xFFFFFFFF  # VMADDR_CID_ANY and VMADDR_PORT_ANY: libsystemd wants a specific peer
_VSOCK_TYPES = {
    "vsock": (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM),
    "vsock-dgram": (socket.SOCK_DGRAM,),
    "vsock-seqpacket": (socket.SOCK_SEQPACKET,),
    "vsock-stream": (socket.SOCK_STREAM,),
}
# The receiver's queue or our buffer is full; or nobody holds the address at this moment, as while
# a manager that binds it anew re-executes itself (PID 1 keeps its socket over daemon-reexec).
_TRY_AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ECONNREFUSED, errno.ENOENT)
_NO_SUCH_TYPE = (errno.EOPNOTSUPP, errno.ESOCKTNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENODEV)
_WHY = {
    errno.ENOENT: "no such file (unset NOTIFY_SOCKET to run without systemd)",
    errno.ECONNREFUSED: "nobody listens there (unset NOTIFY_SOCKET to run without systemd)",
    errno.ENOTDIR: "no such file (part of the path is not a directory)",
    errno.EPROTOTYPE: "it is not a datagram socket",
    errno.ENOTSOCK: "it is not a socket",
    errno.EACCES: "permission denied (does the unit's User= or sandbox reach it?)",
    errno.EPERM: "not permitted (does SystemCallFilter= or a security module forbid it?)",
    errno.EMSGSIZE: "the message is too long",
    # Not "try again": who fills this up may be the target, and all the rest would wait behind it.
    errno.ETOOMANYREFS: "too many file descriptors of this user are on their way already",
    errno.EBADF: "a file descriptor that was to go with it is not open",
    errno.EOPNOTSUPP: "file descriptors cannot be sent there, only to a socket of this machine",
}


class Address(NamedTuple):
    """Where NOTIFY_SOCKET points.

    types  socket types to try, the first that the kernel has is used
    peer   what sendto() and connect() take
    """

    family: int
    types: tuple[int, ...]
    peer: str | bytes | tuple[int, int]


def parse_address(text: str) -> Address:
    """The address that a NOTIFY_SOCKET value names: /path, @abstract, vsock:CID:PORT and its kin.

    Raises NotifyError for anything else.
    Source: sd_notify(3), socket_address_parse_unix(), socket_address_parse_vsock().
    """
    if text[:1] in ("/", "@"):
        try:
            name = os.fsencode(text)
        except UnicodeEncodeError:
            raise _bad(text, "it is not text that a file system could hold") from None
        if b"\0" in name:
            raise _bad(text, "it contains a NUL")
        if not 2 <= len(name) <= _PATH_LIMIT:
            raise _bad(text, f"its length is not in 2..{_PATH_LIMIT} bytes")
        peer = b"\0" + name[1:] if text[0] == "@" else text
        return Address(socket.AF_UNIX, (socket.SOCK_DGRAM,), peer)
    kind, _, rest = text.partition(":")
    if kind not in _VSOCK_TYPES:
        raise _bad(text, "it is neither /PATH, @NAME nor vsock:CID:PORT")
    cid, _, port = rest.partition(":")
    if not (_is_u32(cid) and _is_u32(port)):
        raise _bad(text, "CID and PORT of a vsock address are numbers")
    return Address(socket.AF_VSOCK, _VSOCK_TYPES[kind], (int(cid), int(port)))


class Notifier:
    """Says things to systemd, at the address that NOTIFY_SOCKET had; close() it at the end.

    One socket for a life, but never connected: the address is looked up at each send, so that a
    manager which binds it anew is found again. Raises NotifyError for an address that cannot be.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._where = parse_address(address)
        self._socket, self._type = self._open()
        self._identity = _identity(self._socket)

    def __del__(self) -> None:
        if hasattr(self, "_identity"):  # not after an address that cannot be
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self) -> None:
        """Raises NotifyError, saying why, when nobody listens at the address now. Sends nothing."""
        if self._where.family != socket.AF_UNIX:
            return  # connecting would already be a message to the host
        trial, _ = self._open()
        try:
            trial.connect(self._where.peer)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise self._unreachable(error) from None
        finally:
            trial.close()

    def send(self, datagram: bytes, fds: Sequence[int] = ()) -> bool:
        """Sends *datagram*: True when systemd has it, False when not now but maybe later.

        fds  file descriptors to go with it; they stay open here

        False: systemd's socket is full, or nobody is there just now (it re-executes itself).
        Raises NotifyError when it can never work.
        """
        try:
            if fds:
                if self._where.family != socket.AF_UNIX:
                    raise OSError(errno.EOPNOTSUPP, "")
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, _as_ints(fds))
                self._socket.sendmsg((datagram,), (rights,), _FLAGS, self._where.peer)
            elif self._type == socket.SOCK_DGRAM:
                self._socket.sendto(datagram, _FLAGS, self._where.peer)
            else:
                self._converse(datagram)
        except OSError as error:
            if error.errno in _TRY_AGAIN or isinstance(error, TimeoutError):
                return False
            raise self._unreachable(error) from None
        return True

    def close(self) -> None:
        """Closes the socket. Nothing can be sent afterwards. May be called again."""
        if _identity(self._socket) == self._identity:
            self._socket.close()
        else:
            self._socket.detach()  # the number is somebody else's by now

    def avoid(self, taken: Container[int]) -> None:
        """Moves the socket to a descriptor number that is not in *taken*."""
        left = []
        while self._socket.fileno() in taken:
            left.append(self._socket)
            copy = os.dup(self._socket.fileno())
            self._socket = socket.socket(self._where.family, self._type, 0, copy)
        for each in left:
            each.close()

    def renew(self) -> None:
        """Opens the socket anew where somebody else has closed it. Costs a microsecond.

        Programs that turn themselves into daemons close every descriptor that they do not know. The
        number may be a connection's by now, and a datagram in there would be what the peer reads.
        """
        lost = self._socket
        if _identity(lost) != self._identity:
            made, self._type = self._open()
            self._socket, self._identity = made, _identity(made)
            lost.detach()

    def _open(self) -> tuple[socket.socket, int]:
        """A socket of the first type that the kernel has, and that type; close-on-exec."""
        for kind in self._where.types:
            try:
                made = socket.socket(self._where.family, kind, 0)
            except OSError as error:
                if error.errno not in _NO_SUCH_TYPE or kind == self._where.types[-1]:
                    raise self._unreachable(error) from None
            else:
                return made, kind
        raise AssertionError("every address has a socket type")

    def _converse(self, datagram: bytes) -> None:
        """One message over a connection of its own: its end is the message's end (sd_notify(3))."""
        connection, _ = self._open()
        try:
            _bind_privileged(connection)
            connection.settimeout(_VSOCK_TIMEOUT_S)
            connection.connect(self._where.peer)
            while datagram:
                datagram = datagram[connection.send(datagram, socket.MSG_NOSIGNAL) :]
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)  # the manager's EOF: it has read all of it
        finally:
            connection.close()

    def _unreachable(self, error: OSError) -> NotifyError:
        why = _WHY.get(error.errno or 0) or (error.strerror or str(error)).lower()
        if error.errno == errno.EAFNOSUPPORT:
            name = "AF_UNIX" if self._where.family == socket.AF_UNIX else "AF_VSOCK"
            why = f"RestrictAddressFamilies= lacks {name} (add it in the unit)"
        return NotifyError(f"cannot reach systemd at NOTIFY_SOCKET={self.address!r}: {why}")


def _identity(held: socket.socket) -> tuple[int, int] | None:
    """Which socket it is, to the kernel; None when its descriptor is closed."""
    try:
        found = os.fstat(held.fileno())
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _as_ints(fds: Sequence[int]) -> bytes:
    """As SCM_RIGHTS wants them (unix(7)): an array of C ints."""
    return b"".join(fd.to_bytes(4, sys.byteorder) for fd in fds)


def _bind_privileged(connection: socket.socket) -> None:
    """Shows the host that root sends: from a port below 1024, where we may have one."""
    for port in range(1023, 0, -1):
        try:
            connection.bind((socket.VMADDR_CID_ANY, port))
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return  # EACCES: we are not root, and libsystemd goes on then as well


def _is_u32(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < _ANY


def _bad(text: str, why: str) -> NotifyError:
    return NotifyError(
        f"NOTIFY_SOCKET={text!r} is not an address: {why} (unset it to run without systemd)"
    )
