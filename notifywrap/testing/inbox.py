"""The socket that NOTIFY_SOCKET names, at systemd's end."""

from __future__ import annotations

import array
import contextlib
import os
import shutil
import socket
import struct
import tempfile
import uuid

from notifywrap.protocol.wire import MAX_DATAGRAM

__all__ = ["Inbox"]

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_MOST_FDS = 253  # SCM_MAX_FD
_ROOM = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_MOST_FDS * 4)
_BUFFER = 8 << 20  # systemd asks for as much: a burst of notifications is not lost


class Inbox:
    """Bound on creation; close() removes it. `address` is what NOTIFY_SOCKET is to be."""

    def __init__(self, *, abstract: bool = False) -> None:
        self._directory = "" if abstract else tempfile.mkdtemp(prefix="notifywrap-")
        name = f"notifywrap/{uuid.uuid4().hex}"
        self.address = f"@{name}" if abstract else os.path.join(self._directory, "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind(f"\0{name}" if abstract else self.address)
        if not abstract:
            # A service may have another user; who counts is decided by pid, as in systemd.
            os.chmod(self._directory, 0o711)
            os.chmod(self.address, 0o777)

    def fileno(self) -> int:
        """For poll(2)."""
        return self._socket.fileno()

    def receive(self) -> list[tuple[int, bytes]]:
        """Everything that has come: sender's pid and datagram, too long by one when it was cut.

        Descriptors that came along are closed, as without FDSTORE=1: that answers BARRIER=1.
        """
        received: list[tuple[int, bytes]] = []
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(MAX_DATAGRAM + 1, _ROOM)
            except BlockingIOError:
                return received
            pid = 0
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    pid = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
                elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    for fd in array.array("i", content[: len(content) // 4 * 4]):
                        os.close(fd)
            received.append((pid, data))

    def close(self) -> None:
        """Nothing listens there any more, and nothing is left of the path."""
        self._socket.close()
        if self._directory:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._directory)
