"""Which files the kernel executes when a command is: the program, its interpreter, its loader."""

from __future__ import annotations

import errno
import os
import stat
import struct

from notifywrap.lean import TYPE_CHECKING, NamedTuple
from notifywrap.policy.shebang import find_env_command, parse_shebang

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

__all__ = ["Program", "find_machine", "find_programs"]

_MOST_FILES = 16  # interpreters of interpreters: the kernel takes 5
_HEAD = 256  # BINPRM_BUF_SIZE: where the kernel looks for #! and its line's end
_PT_INTERP = 3
_MOST_SEGMENTS = 1024


class Program(NamedTuple):
    """One executable file.

    role       "" for what was asked for, "interpreter" or "loader" for what it needs
    machine    EM_... of a 64-bit ELF file (elf(5)), -1 of any other, 0 for a script
    is_opaque  its first line has something executed, and what that is cannot be told
    """

    path: str
    role: str = ""
    machine: int = 0
    is_opaque: bool = False


def find_programs(command: str, env: Mapping[str, str]) -> list[Program]:
    """What is executed for *command*: itself first, then all it needs for that.

    Raises OSError: as exec(3) would where nothing of that name can be executed; with the file's
    name in it where a file can, but not be read. Never waits for a file.
    """
    found: list[Program] = []
    waiting = [(_search(command, env), "")]
    while waiting and len(found) < _MOST_FILES:
        path, role = waiting.pop(0)
        if path in (program.path for program in found):
            continue
        with _open(path) as file:
            head = file.read(_HEAD)
            machine, loader = _read_elf(file) if head[:4] == b"\x7fELF" else (0, "")
        interpreters, is_opaque = _interpreters(head, env)
        found.append(Program(path, role, machine, is_opaque))
        if loader:
            waiting.append((loader, "loader"))
        waiting += [(each, "interpreter") for each in interpreters]
    return found


def find_machine(path: str) -> int:
    """As Program.machine. Raises OSError when it cannot be read."""
    with _open(path) as file:
        return _read_elf(file)[0]


def _open(path: str) -> BinaryIO:
    # Nothing else is executed: EACCES, as execve(2) says. To open it could wait for ever (a FIFO),
    # or do something (a device).
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EACCES, "")
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


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


def _interpreters(head: bytes, env: Mapping[str, str]) -> tuple[list[str], bool]:
    """What `#!/usr/bin/env python3` names: env, and what env will look for. True when that cannot
    be told, or is not there: then env says so, as it does without us."""
    interpreter, argument = map(os.fsdecode, parse_shebang(head))
    if os.path.basename(interpreter) != "env":
        return ([interpreter] if interpreter else []), False
    command = find_env_command(argument)
    try:
        return [interpreter, *([_search(command, env)] if command else [])], command is None
    except OSError:
        return [interpreter], True


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
