"""What the steady path needs of `os`, from the C module that `os` itself is built on.

`python3 -S` starts without `os`, and its own way there costs 0.25 MB and a millisecond: it defines
`os.environ`, and for that all the abstract classes of `collections.abc`. `notifywrap.lean` has
`os`: this where the interpreter has not loaded the real one.
"""

from __future__ import annotations

import posix
import sys
from io import open as fdopen
from posix import *  # noqa: F403 - that is what `os` does
from posix import _exit, execve, stat  # noqa: F401

TYPE_CHECKING = False  # lean.py has it, and imports us
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

__all__ = ["devnull", "environ", "execvpe", "fdopen", "fsdecode", "fsencode", "path"]

devnull = "/dev/null"
_ENCODING = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
_DEFAULT_PATH = "/bin:/usr/bin"  # os.defpath
_FILE_TYPE, _DIRECTORY, _REGULAR = 0o170000, 0o040000, 0o100000  # inode(7): S_IFMT and two of it


def fsencode(text: str | bytes) -> bytes:
    """A file name or argument as the kernel has it."""
    return text.encode(*_ENCODING) if isinstance(text, str) else text


def fsdecode(name: str | bytes) -> str:
    """The same for Python, undecodable bytes as surrogates."""
    return name.decode(*_ENCODING) if isinstance(name, bytes) else name


# As it was at the start: nobody here changes it.
environ: dict[str, str] = {  # type: ignore[no-redef]
    fsdecode(name): fsdecode(value) for name, value in posix.environ.items()
}


def execvpe(file: str, args: list[str], env: Mapping[str, str]) -> NoReturn:
    """execve(2) of what is found in the PATH of *env*. Raises OSError: the first that says more
    than "not there"."""
    if "/" in file:
        execve(file, args, env)
    refused: OSError | None = None
    missing: OSError = FileNotFoundError(2, "")
    for directory in env.get("PATH", _DEFAULT_PATH).split(":"):
        try:
            execve(path.join(directory, file), args, env)
        except (FileNotFoundError, NotADirectoryError) as error:
            missing = error
        except OSError as error:
            refused = refused or error
    raise refused or missing


class path:  # noqa: N801 - as os.path
    """Of os.path."""

    @staticmethod
    def basename(name: str) -> str:
        return name.rpartition("/")[2]

    @staticmethod
    def dirname(name: str) -> str:
        head = name.rpartition("/")[0]
        return head.rstrip("/") or "/" * (len(head) + 1) if name[:1] == "/" else head.rstrip("/")

    @staticmethod
    def join(directory: str, name: str) -> str:
        if name.startswith("/") or not directory:
            return name
        return directory + name if directory.endswith("/") else f"{directory}/{name}"

    @staticmethod
    def exists(name: str | bytes | int) -> bool:
        return _type_of(name) is not None

    @staticmethod
    def isdir(name: str | bytes | int) -> bool:
        return _type_of(name) == _DIRECTORY

    @staticmethod
    def isfile(name: str | bytes | int) -> bool:
        return _type_of(name) == _REGULAR


def _type_of(name: str | bytes | int) -> int | None:
    try:
        return stat(name).st_mode & _FILE_TYPE
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
