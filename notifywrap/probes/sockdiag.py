"""The kernel's socket tables over netlink (sock_diag(7)): one question, one answer.

One socket is kept open: a lookup costs 9 us on it, 21 us with a socket of its own (measured, Linux
6.18). The kernel answers within send(), so nothing here ever waits.
"""

from __future__ import annotations

import errno
import struct

from notifywrap.lean import TYPE_CHECKING, os, socket
from notifywrap.probes.sockets import LISTEN, KernelSockets, Listener, TcpEnd, show_address

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SockDiag"]

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, linux/unix_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x301
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port id
_ANY_STATE = 0xFFFFFFFF
_ANY_COOKIE = b"\xff" * 8

_INET_REQUEST = struct.Struct("=BBBBI2s2s16s16sI8s")  # struct inet_diag_req_v2
_INET_REPLY = struct.Struct("=BBBB2s2s16s16sI8sIIIII")  # struct inet_diag_msg

_UNIX_REQUEST = struct.Struct("=BBHIII8s")  # struct unix_diag_req
_UNIX_REPLY = struct.Struct("=BBBBI8s")  # struct unix_diag_msg
_SHOW_NAME, _SHOW_VFS, _SHOW_PEER, _SHOW_RQLEN, _SHOW_UID = 0x1, 0x2, 0x4, 0x10, 0x40
_NAME, _VFS, _PEER, _RQLEN, _UID = 0, 1, 2, 4, 7
_LISTENER_FACTS = _SHOW_NAME | _SHOW_VFS | _SHOW_RQLEN | _SHOW_UID

# The kernel fills skbs of at most 16 KiB (NLMSG_GOODSIZE) for a reader of this size
_READ_SIZE = 16384
_MOST_READS = 4096  # 64 MiB of answers: half a million listening sockets


class SockDiag(KernelSockets):
    """sock_diag(7). Raises OSError when made where it is not allowed or the kernel lacks it."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            _NETLINK_SOCK_DIAG,
        )
        self._sequence = 0
        self._for_unix: KernelSockets | None = None  # where the kernel has no unix_diag
        try:
            self._socket.bind((0, 0))
            self._port_id: int = self._socket.getsockname()[0]
            # A kernel without tcp_diag says ENOENT to everything, as it does for a connection that
            # is not there. A dump has no such second meaning, so ask for one now.
            self.tcp_listeners(1)
        except OSError:
            self._socket.close()
            raise

    def tcp_end(self, here: tuple[str, int], there: tuple[str, int]) -> TcpEnd | None:
        """Exact lookup of the 4-tuple as the server sees it.

        Finds an AF_INET6 server of an IPv4 client too.
        """
        family = socket.AF_INET6 if ":" in here[0] else socket.AF_INET
        ports = struct.pack("!H", there[1]), struct.pack("!H", here[1])
        addresses = [
            socket.inet_pton(family, host.partition("%")[0]) for host in (there[0], here[0])
        ]
        body = _INET_REQUEST.pack(
            *(family, socket.IPPROTO_TCP, 0, 0, _ANY_STATE),
            *(*ports, *addresses, 0, _ANY_COOKIE),
        )
        try:
            replies = list(self._ask(body, _NLM_F_REQUEST))
        except FileNotFoundError:
            return None
        for reply in replies:
            _, state, _, _, server, client, _, _, _, _, _, queued, limit, _, inode = (
                _INET_REPLY.unpack_from(reply)
            )
            if state == LISTEN and server == ports[0]:
                return TcpEnd(state, inode, queued, limit)
            if (server, client) == ports:
                return TcpEnd(state, inode)
        return None

    def tcp_listeners(self, port: int = 0) -> list[Listener]:
        """LISTEN dump of both families; the kernel itself skips other ports."""
        listeners = []
        for family, size in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
            body = _INET_REQUEST.pack(
                *(family, socket.IPPROTO_TCP, 0, 0, 1 << LISTEN),
                *(struct.pack("!H", port), b"", b"", b"", 0, _ANY_COOKIE),
            )
            for reply in self._ask(body, _NLM_F_DUMP):
                _, _, _, _, bound, _, address, _, _, _, _, queued, limit, uid, inode = (
                    _INET_REPLY.unpack_from(reply)
                )
                number = int.from_bytes(bound, "big")
                if port in (0, number):
                    host = show_address(address[:size])
                    listeners.append(Listener(host, number, "", inode, uid, queued, limit))
        return listeners

    def is_silent(self, port: int) -> bool:
        """As `tcp_listeners()`, with nothing made of what is found."""
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _INET_REQUEST.pack(
                *(family, socket.IPPROTO_TCP, 0, 0, 1 << LISTEN),
                *(struct.pack("!H", port), b"", b"", b"", 0, _ANY_COOKIE),
            )
            if list(self._ask(body, _NLM_F_DUMP)):
                return False
        return True

    def is_deaf(self, host: str, port: int) -> bool:
        """Exact lookup of who gets a SYN: 5 us, where to connect and be refused takes 50."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        body = _INET_REQUEST.pack(
            *(family, socket.IPPROTO_TCP, 0, 0, _ANY_STATE),
            *(struct.pack("!H", port), b"", socket.inet_pton(family, host), b"", 0, _ANY_COOKIE),
        )
        try:
            return not list(self._ask(body, _NLM_F_REQUEST))
        except FileNotFoundError:
            return True

    def wait_s(self) -> float:
        return self._for_unix.wait_s() if self._for_unix is not None else 0.0

    def unix_accepted(self, inode: int, path: str) -> bool:
        """Whether the other end of the AF_UNIX socket with this *inode* has an inode itself.

        0 before accept().
        """
        if self._for_unix is not None:
            return self._for_unix.unix_accepted(inode, path)
        body = _UNIX_REQUEST.pack(socket.AF_UNIX, 0, 0, _ANY_STATE, inode, _SHOW_PEER, _ANY_COOKIE)
        for reply in self._ask(body, _NLM_F_REQUEST):
            peer = _attributes(reply, _UNIX_REPLY.size).get(_PEER, b"")
            if int.from_bytes(peer[:4], "little" if _IS_LITTLE else "big"):
                return True
        return False

    def unix_listeners(self) -> list[Listener]:
        """LISTEN dump of AF_UNIX, stream sockets only."""
        if self._for_unix is not None:
            return self._for_unix.unix_listeners()
        body = _UNIX_REQUEST.pack(
            socket.AF_UNIX, 0, 0, 1 << LISTEN, 0, _LISTENER_FACTS, _ANY_COOKIE
        )
        try:
            replies = list(self._ask(body, _NLM_F_DUMP))
        except FileNotFoundError:
            # It has tcp_diag and no unix_diag: a module that may no longer be loaded, say.
            from notifywrap.probes.procnet import ProcNet

            self._for_unix = ProcNet()
            return self._for_unix.unix_listeners()
        listeners = []
        for reply in replies:
            _, kind, _, _, inode, _ = _UNIX_REPLY.unpack_from(reply)
            if kind == socket.SOCK_STREAM:
                listeners.append(_unix_listener(inode, _attributes(reply, _UNIX_REPLY.size)))
        return listeners

    def close(self) -> None:
        self._socket.close()

    def _ask(self, body: bytes, flags: int) -> Iterator[bytes]:
        """Send one request and yield the payload of each answer to it.

        Must be read to the end. Raises OSError.
        """
        self._sequence = self._sequence + 1 & 0xFFFFFFFF
        size = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, flags, self._sequence, 0) + body)
        for _ in range(_MOST_READS):
            data, sender = self._socket.recvfrom(_READ_SIZE)
            if sender[0] != 0:
                continue  # not from the kernel: any local process may send to a netlink port
            for kind, payload in self._messages(data):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    raise OSError(code, os.strerror(code))
                yield payload
                if flags == _NLM_F_REQUEST:
                    return
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))

    def _messages(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        start = 0
        while start + _HEADER.size <= len(data):
            size, kind, _, sequence, port_id = _HEADER.unpack_from(data, start)
            if size < _HEADER.size or start + size > len(data):
                return  # truncated: the kernel does not do that, and guessing would be worse
            if (sequence, port_id) == (self._sequence, self._port_id):
                yield kind, data[start + _HEADER.size : start + size]
            start += size + 3 & ~3


_IS_LITTLE = struct.pack("=H", 1) == b"\x01\x00"


def _attributes(reply: bytes, start: int) -> dict[int, bytes]:
    found = {}
    while start + 4 <= len(reply):
        size, kind = struct.unpack_from("=HH", reply, start)
        if size < 4:
            break
        found[kind] = reply[start + 4 : start + size]
        start += size + 3 & ~3
    return found


def _unix_listener(inode: int, facts: dict[int, bytes]) -> Listener:
    name = facts.get(_NAME, b"")
    path = os.fsdecode(b"@" + name[1:] if name[:1] == b"\0" else name.rstrip(b"\0"))
    queued, limit = struct.unpack("=II", facts.get(_RQLEN, bytes(8)))
    (uid,) = struct.unpack("=I", facts.get(_UID, b"\xff" * 4))
    ino, device = struct.unpack("=II", facts.get(_VFS, bytes(8)))
    return Listener("", 0, path, inode, uid, queued, limit, (ino, device))
