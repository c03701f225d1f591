"""A program of a hundred bytes that exits with STATUS: what an intruder drops and executes.

It needs no loader and no library, so nothing but the permission to execute it decides.
"""

from __future__ import annotations

import struct

from notifywrap.drill.syscalls import MACHINE

__all__ = ["STATUS", "program"]

STATUS = 42  # nothing else ends with it by chance

# exit(42) in machine code, and the machine's number in elf.h
_CODE = {
    "x86_64": (62, bytes.fromhex("bf2a000000b83c0000000f05")),
    "aarch64": (183, bytes.fromhex("400580d2a80b80d2010000d4")),
    "riscv64": (243, bytes.fromhex("1305a0029308d00573000000")),
}
_BASE, _HEADERS = 0x400000, 64 + 56


def program() -> bytes:
    """The file's contents. Raises OSError on a machine whose code we do not know."""
    if MACHINE not in _CODE:
        raise OSError(f"no program for {MACHINE}")
    machine, code = _CODE[MACHINE]
    size = _HEADERS + len(code)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    # ET_EXEC, entered behind the headers; one segment, PT_LOAD, readable and executable (elf(5))
    header = struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return ident + header + segment + code
