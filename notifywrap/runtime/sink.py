"""Writing to a descriptor that is shared with others, without ever waiting for its reader.

O_NONBLOCK belongs to the open file, not to the descriptor: set on our stdout it would be set for
everybody else who has it, and they would lose lines for it. So a socket is asked not to wait call
by call, and what can be opened anew is.
"""

from __future__ import annotations

import select
import stat

from notifywrap.lean import TYPE_CHECKING, os, socket

if TYPE_CHECKING:
    from collections.abc import Callable

    # Takes some bytes and says how many were written. Raises BlockingIOError when there is no room.
    Write = Callable[[bytes], int]

__all__ = ["Sink", "open_sink"]

PIECE = select.PIPE_BUF  # pipe(7): up to this a pipe takes all or nothing, so no line is torn


class Sink:
    """Where bytes go.

    fd     to poll for room (POLLOUT)
    write  takes PIECE bytes at most
    """

    def __init__(self, fd: int, write: Write, close: Callable[[], None]) -> None:
        self.fd = fd
        self.write = write
        self.close = close


def open_sink(fd: int) -> Sink:
    """A Sink to what *fd* leads to; *fd* itself stays as it is.

    Raises OSError when *fd* is closed, or for EMFILE.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):  # the journal's, or a client's
        return _to_socket(fd)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            # An open file of our own. Not for regular files: it would have an offset of its own.
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            own = os.open(f"/proc/self/fd/{fd}", flags)
        except OSError:
            # EACCES: a pipe or terminal of another user; ENOENT: no /proc; ENXIO: a FIFO that
            # nobody reads
            return Sink(fd, lambda data: _write_if_room(fd, data), lambda: None)
        return Sink(own, lambda data: os.write(own, data), lambda: os.close(own))
    return Sink(fd, lambda data: os.write(fd, data), lambda: None)


def _to_socket(fd: int) -> Sink:
    own = socket.socket(fileno=os.dup(fd))
    flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
    return Sink(own.fileno(), lambda data: own.send(data, flags), own.close)


def _write_if_room(fd: int, data: bytes) -> int:
    """A pipe with room takes PIPE_BUF bytes at once; only another writer could be faster."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(fd, data)
