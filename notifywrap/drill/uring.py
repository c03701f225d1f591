"""One operation through an io_uring: the kernel does what a system call would do, and no system
call is made that a filter could see (io_uring(7), io_uring_enter(2))."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct

from notifywrap.drill.syscalls import system_call

__all__ = ["open_socket"]

# linux/io_uring.h
_PARAMETERS = "=10I8IQ8IQ"  # struct io_uring_params with its two struct io_*ring_offsets
_ENTRY = "=BBHiQQIIQQQQ"  # struct io_uring_sqe
_COMPLETION = "=QiI"  # struct io_uring_cqe
_AT_COMPLETIONS, _AT_ENTRIES = 0x8000000, 0x10000000  # IORING_OFF_CQ_RING, IORING_OFF_SQES
_GET_EVENTS = 1  # IORING_ENTER_GETEVENTS
_OP_SOCKET = 45  # IORING_OP_SOCKET, Linux 5.19


def open_socket(family: int) -> int:
    """A datagram socket of *family*; the caller closes it. Raises OSError."""
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    return _perform(struct.pack(_ENTRY, _OP_SOCKET, 0, 0, family, kind, 0, 0, 0, 0, 0, 0, 0))


def _perform(entry: bytes) -> int:
    """What the operation of *entry* returns."""
    parameters = ctypes.create_string_buffer(struct.calcsize(_PARAMETERS))
    ring = system_call("io_uring_setup", 1, parameters)
    try:
        told = struct.unpack(_PARAMETERS, parameters.raw)
        tail, array = told[11], told[16]
        completions = told[24]
        with (
            _map(ring, array + 4, 0) as submitted,
            _map(ring, len(entry), _AT_ENTRIES) as entries,
            _map(ring, completions + struct.calcsize(_COMPLETION), _AT_COMPLETIONS) as completed,
        ):
            entries[: len(entry)] = entry
            struct.pack_into("=I", submitted, array, 0)  # the first entry ...
            struct.pack_into("=I", submitted, tail, 1)  # ... is the only one
            system_call("io_uring_enter", ring, 1, 1, _GET_EVENTS, None, 0)
            result = int(struct.unpack_from(_COMPLETION, completed, completions)[1])
    finally:
        os.close(ring)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def _map(ring: int, length: int, offset: int) -> mmap.mmap:
    return mmap.mmap(ring, length, offset=offset)
