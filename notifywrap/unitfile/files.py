"""Files that a user names, or a unit: read whole, with a bound, and only where reading ends."""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["MOST_BYTES", "is_utf8", "read_file", "read_start"]

MOST_BYTES = 4 << 20  # of a unit file or a file of variables; what is larger is something else


def read_file(path: str) -> str:
    """The text of the file at *path*; what is not UTF-8 in it stays as it is.

    Raises OSError, also for what is no regular file (a FIFO never ends, a device may act) and for
    one of more than MOST_BYTES.
    """
    data = read_start(path, MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MOST_BYTES >> 20} MiB", path)
    return data.decode("utf-8", "surrogateescape")


def read_start(path: str, length: int) -> bytes:
    """The first *length* bytes of a file, whatever its size. Raises OSError as `read_file()`."""
    _check(os.stat(path).st_mode, path)
    # It may have become a FIFO meanwhile.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        _check(os.fstat(fd).st_mode, path)
        return file.read(length)


def is_utf8(text: str) -> bool:
    """Was all of it UTF-8 in its file?"""
    return text.isascii() or not any("\udc80" <= char <= "\udcff" for char in text)


def _check(mode: int, path: str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory", path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
