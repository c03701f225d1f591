"""Which files the kernel executes when a command is: the program, its interpreter, its loader."""

from __future__ import annotations

import errno
import os
import struct

from notifywrap.lean import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

__all__ = ["Program", "find_programs"]

_MOST_FILES = 16  # interpreters of interpreters: the kernel takes 5
_HEAD = 256  # BINPRM_BUF_SIZE: where the kernel looks for #! and its line's end
_PT_INTERP = 3
_MOST_SEGMENTS = 1024


class Program(NamedTuple):
    """One executable file.

    role     "" for what was asked for, "interpreter" or "loader" for what it needs
    machine  EM_... of a 64-bit ELF file (elf(5)), -1 of any other, 0 for a script
    """

    path: str
    role: str = ""
    machine: int = 0


def find_programs(command: str, env: Mapping[str, str]) -> list[Program]:
    """What is executed for *command*: itself first, then all it needs for that.

    Raises OSError: as exec(3) would where nothing of that name can be executed; with the file's
    name in it where a file can, but not be read.
    """
    found: list[Program] = []
    waiting = [(_search(command, env), "")]
    while waiting and len(found) < _MOST_FILES:
        path, role = waiting.pop(0)
        if path in (program.path for program in found):
            continue
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            machine, loader = _read_elf(file) if head[:4] == b"\x7fELF" else (0, "")
        found.append(Program(path, role, machine))
        if loader:
            waiting.append((loader, "loader"))
        waiting += [(each, "interpreter") for each in _interpreters(head, env)]
    return found


def _search(command: str, env: Mapping[str, str]) -> str:
    """As execvp(3) does."""
    if "/" in command:
        if not os.access(command, os.X_OK):
            raise OSError(errno.EACCES if os.path.exists(command) else errno.ENOENT, "")
        return command
    for directory in os.get_exec_path(env):
        path = os.path.join(directory, command)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise OSError(errno.ENOENT, "")


def _interpreters(head: bytes, env: Mapping[str, str]) -> list[str]:
    """What `#!/usr/bin/env python3` names: env, and what env will look for."""
    if head[:2] != b"#!":
        return []
    words = os.fsdecode(head[2:].partition(b"\n")[0]).split()
    found = words[:1]
    if found and os.path.basename(found[0]) == "env":
        # -S and other options, and NAME=VALUE, go before the program.
        rest = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        found += [_search(word, env) for word in rest[:1]]
    return found


def _read_elf(file: BinaryIO) -> tuple[int, str]:
    """(machine, loader) of an ELF file; no loader for a static one. Source: elf(5)."""
    file.seek(0)
    ident = file.read(16)
    order = ">" if ident[5:6] == b"\2" else "<"
    is_64 = ident[4:5] == b"\2"
    try:
        header = _unpack(f"{order}HHIQQQIHHH" if is_64 else f"{order}HHIIIIIHHH", file)
        machine = header[1] if is_64 else -1
        for index in range(min(header[9], _MOST_SEGMENTS)):
            file.seek(header[4] + index * header[8])
            segment = _unpack(f"{order}IIQQQQ" if is_64 else f"{order}IIIII", file)
            if segment[0] == _PT_INTERP:
                offset, length = (segment[2], segment[5]) if is_64 else (segment[1], segment[4])
                file.seek(offset)
                return machine, os.fsdecode(file.read(min(length, 4096)).rstrip(b"\0"))
    except (struct.error, OSError, OverflowError):
        return -1, ""  # cut off, or nonsense: the kernel will refuse it
    return machine, ""


def _unpack(layout: str, file: BinaryIO) -> Sequence[int]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
