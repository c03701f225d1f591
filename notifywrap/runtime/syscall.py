"""Calls of the C library that Python does not have, with their errno. The C half of ctypes alone:
the Python half takes 5 ms to import, twice what all of a jail takes besides."""

from __future__ import annotations

import _ctypes
import os

from notifywrap.lean import TYPE_CHECKING

__all__ = ["call", "place"]

if TYPE_CHECKING:
    _Number = _ctypes._SimpleCData[int]
    _Character = _ctypes._SimpleCData[bytes]
else:
    _Number = _Character = _ctypes._SimpleCData


class _Long(_Number):
    """What system calls take for a number, see syscall(2)."""

    _type_ = "l"


class _Byte(_Character):
    _type_ = "c"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


def call(name: str, *arguments: int | bytes | None) -> int:
    """Call the C library's function *name* and return its result; bytes are passed as a pointer.

    Raises OSError when the result is negative.
    """
    function = _Function(_ctypes.dlsym(_ctypes.dlopen(None, 0), name))  # type: ignore[arg-type]
    words = [_Long(each) if isinstance(each, int) else each for each in arguments]
    result: int = function(*words)
    if result < 0:
        number = _ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def place(data: bytes) -> tuple[int, object]:
    """(address of a copy of *data*, what keeps it there), for a pointer inside of a structure."""
    kept = (_Byte * len(data)).from_buffer_copy(data)
    return _ctypes.addressof(kept), kept
