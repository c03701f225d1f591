"""What a new unit has to let run: programs, their interpreters, and the libraries of both."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from notifywrap.errors import SpecError
from notifywrap.policy.probe import ExecProbe
from notifywrap.policy.shebang import find_env_command, parse_shebang

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.policy.spec import Spec

__all__ = ["SHELLS", "commands_of", "find_program", "needs_of"]

# What they start in turn cannot be told from here.
SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "env", "timeout", "sudo", "nice", "setpriv")
_LONGEST = 256  # of a first line, linux/binfmts.h
_SYSTEMS = ("/", "/usr", "/usr/local")  # what lies in their lib/ is said by /usr/lib


def find_program(word: str, what: str) -> str:
    """The absolute path of a program; raises SpecError naming *what* asks for it."""
    found = shutil.which(word)
    if found is None:
        raise SpecError(
            f"{what}: {word!r} is no program that can be found and executed here"
            " (write its absolute path)"
        )
    path = os.path.abspath(found)
    if path.startswith("/root/"):
        raise SpecError(
            f"{what}: {path!r} lies in root's home, where no service can go: install it elsewhere"
        )
    if path.startswith("/home/"):
        raise SpecError(
            f"{what}: {path!r} lies in a home, which the unit hides (ProtectHome=yes): install it"
            " in /usr/local or /opt"
        )
    return path


def commands_of(spec: Spec | None) -> Iterator[tuple[str, str]]:
    """(what asks for it, program) of what notifywrap itself will run: probes, and the reload."""
    if spec is None:
        return
    for probe in dict.fromkeys((*spec.ready, *spec.live)):
        if isinstance(probe, ExecProbe):
            yield probe.text, probe.argv[0]
    if spec.reload_command:
        yield "--reload", spec.reload_command[0]


def needs_of(program: str) -> list[str]:
    """A program, what interprets it, and the directories with libraries that belong to them alone:
    a virtual environment, or an installation with a lib/ of its own."""
    found = [program]
    try:
        with open(program, "rb") as file:
            interpreter, argument = map(os.fsdecode, parse_shebang(file.read(_LONGEST)))
    except OSError:
        return found
    if interpreter:
        found += needs_of(interpreter)
    if os.path.basename(interpreter) == "env":
        command = find_env_command(argument)
        path = command and shutil.which(command)
        if path:
            found += needs_of(path)
    # systemd and the kernel follow symlinks, and so lead to what lies beside the file itself.
    for above in dict.fromkeys(
        os.path.dirname(os.path.dirname(path)) for path in (program, os.path.realpath(program))
    ):
        if os.path.exists(f"{above}/pyvenv.cfg"):
            found.append(above)
        elif above not in _SYSTEMS and os.path.isdir(f"{above}/lib"):
            found.append(f"{above}/lib")  # PostgreSQL, for one
    return list(dict.fromkeys(found))
