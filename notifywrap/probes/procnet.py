"""The kernel's socket tables as text, in /proc/self/net: where AF_NETLINK is not allowed.

Reading /proc/self/net/tcp makes the kernel walk its whole hash table of connections: 4 to 8 ms, on
an idle machine too. So reads are spaced to cost at most 5 % of a core.
"""

from __future__ import annotations

import struct
import time

from notifywrap.lean import TYPE_CHECKING, os, socket
from notifywrap.probes.sockets import (
    LISTEN,
    KernelSockets,
    Listener,
    TcpEnd,
    is_mapped,
    show_address,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ProcNet"]

_DIRECTORY = "/proc/self/net"
_SHARE = 0.05  # of one core
_READ_SIZE = 65536
# Enum socket_state in linux/net.h: connected by the client, not accepted by the server
_UNIX_CONNECTING = 2
_UNIX_LISTENS = 0x10000  # __SO_ACCEPTCON in linux/net.h


class ProcNet(KernelSockets):
    """/proc/self/net/{tcp,tcp6,unix}. Raises OSError when made where that cannot be read."""

    def __init__(self) -> None:
        self._may_read_at = 0.0
        os.close(os.open(f"{_DIRECTORY}/tcp", os.O_RDONLY | os.O_CLOEXEC))

    def wait_s(self) -> float:
        return max(0.0, self._may_read_at - time.monotonic())

    def tcp_end(self, here: tuple[str, int], there: tuple[str, int]) -> TcpEnd | None:
        """The row of the 4-tuple as the server sees it.

        A server on AF_INET6 is in the other file: look in both.
        """
        wanted = (*_endpoint(there), *_endpoint(here))
        for local, remote, state, _, _, inode in self._tcp_rows(there[1]):
            if (*local, *remote) == wanted:
                return TcpEnd(state, inode)
        return None

    def tcp_listeners(self, port: int = 0) -> list[Listener]:
        """Rows in state LISTEN. The length of the queue is there, its limit is not."""
        return [
            Listener(show_address(local[0]), local[1], "", inode, uid, queued)
            for local, _, state, queued, uid, inode in self._tcp_rows(port)
            if state == LISTEN
        ]

    def unix_accepted(self, inode: int, path: str) -> bool:  # noqa: ARG002
        """Whether nothing waits for accept() at *path*.

        Whose connection waits cannot be told here, so any may be ours.
        """
        return not any(
            state == _UNIX_CONNECTING and number == 0 and name == path
            for _, kind, state, number, name in self._unix_rows()
            if kind == socket.SOCK_STREAM
        )

    def unix_listeners(self) -> list[Listener]:
        """Rows that listen. Their owner's uid is not there."""
        return [
            Listener("", 0, name, inode, -1)
            for flags, kind, _, inode, name in self._unix_rows()
            if flags & _UNIX_LISTENS and kind == socket.SOCK_STREAM
        ]

    def _tcp_rows(
        self, port: int
    ) -> list[tuple[tuple[bytes, int], tuple[bytes, int], int, int, int, int]]:
        """(local, remote, state, queued, uid, inode) of rows with this local port.

        Listeners' if it is 0.
        """
        mark = b":%04X " % port if port else b" 0A "
        rows = []
        for name in ("tcp", "tcp6"):
            for line in self._lines(name):
                words = line.split() if mark in line else []
                if len(words) > 9 and (not port or words[1].endswith(mark[:-1])):
                    local, remote, state, queues = words[1:5]
                    queued = int(queues.partition(b":")[2], 16)
                    rows.append(
                        (
                            _unhex(local),
                            _unhex(remote),
                            int(state, 16),
                            queued,
                            int(words[7]),
                            int(words[9]),
                        )
                    )
        return rows

    def _unix_rows(self) -> Iterator[tuple[int, int, int, int, str]]:
        """(flags, type, state, inode, path as bound) of every AF_UNIX socket."""
        for line in self._lines("unix"):
            words = line.split(None, 7)
            if len(words) > 6 and words[6].isdigit():
                path = os.fsdecode(words[7]) if len(words) > 7 else ""
                yield int(words[3], 16), int(words[4], 16), int(words[5], 16), int(words[6]), path

    def _lines(self, name: str) -> Iterator[bytes]:
        """The lines of one table, without holding all of it.

        What reading it cost is charged to the share.
        """
        began = time.thread_time()
        try:
            fd = os.open(f"{_DIRECTORY}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # tcp6 on a kernel without IPv6
        try:
            rest = b""
            while chunk := os.read(fd, _READ_SIZE):
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                yield from lines
        finally:
            os.close(fd)
            cost_s = time.thread_time() - began
            self._may_read_at = max(self._may_read_at, time.monotonic()) + cost_s / _SHARE


def _unhex(text: bytes) -> tuple[bytes, int]:
    """The four bytes of 127.0.0.1 and 8080 for "0100007F:1F90".

    /proc prints 32-bit words of this machine's order.
    """
    words, _, port = text.partition(b":")
    packed = b"".join(struct.pack("=I", int(words[i : i + 8], 16)) for i in range(0, len(words), 8))
    return (packed[12:] if is_mapped(packed) else packed), int(port, 16)


def _endpoint(name: tuple[str, int]) -> tuple[bytes, int]:
    family = socket.AF_INET6 if ":" in name[0] else socket.AF_INET
    packed = socket.inet_pton(family, name[0].partition("%")[0])
    return (packed[12:] if is_mapped(packed) else packed), name[1]
