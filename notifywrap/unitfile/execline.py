"""ExecStart= and its kin: prefixes, program and arguments (systemd.service(5), COMMAND LINES)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from notifywrap.unitfile.specifiers import SpecifierError, resolve
from notifywrap.unitfile.words import WHITESPACE, WordsError, take_word

if TYPE_CHECKING:
    from notifywrap.unitfile.specifiers import Name

__all__ = ["Command", "CommandError", "parse_commands"]


class CommandError(ValueError):
    """A command line for which systemd refuses the whole unit."""


class Command(NamedTuple):
    """One command of an Exec line, its specifiers resolved and its variables not yet.

    prefixes  what stands before the path: some of "-@:+!"
    argv      with argv[0], which is *path* unless "@" gave another
    is_whole  false where a specifier is known at run time alone
    """

    prefixes: str
    path: str
    argv: tuple[str, ...]
    is_whole: bool = True


def parse_commands(value: str, name: Name, path: str = "") -> list[Command]:
    """The commands of one Exec line; several where a lone ";" is between them.

    path  the unit file's, for %y. Raises CommandError.
    """
    commands = []
    rest = value.lstrip(WHITESPACE)
    while rest:
        command, rest = _take_command(rest, name, path)
        if command is not None:
            commands.append(command)
    return commands


def _take_command(text: str, name: Name, unit_path: str) -> tuple[Command | None, str]:
    first, rest = _take(text)
    if first is None or first == ";":
        return None, rest
    prefixes, program = split_prefixes(first)
    program, is_whole = _resolve(program, name, unit_path)
    _check_program(program, text)
    argv = [] if "@" in prefixes else [program]
    while rest:
        if _is_separator(rest):
            rest = rest[1:].lstrip(WHITESPACE)
            break
        if rest.startswith("\\") and _is_separator(rest[1:]):
            argv.append(";")
            rest = rest[2:].lstrip(WHITESPACE)
            continue
        word, rest = _take(rest)
        if word is None:
            break
        word, is_known = _resolve(word, name, unit_path)
        is_whole = is_whole and is_known
        argv.append(word)
    if not argv or not argv[0]:
        raise CommandError(f"no argv[0] in {text!r}")
    return Command(prefixes, simplify(program), tuple(argv), is_whole), rest


def split_prefixes(word: str) -> tuple[str, str]:
    """("-@", "/bin/x") of "-@/bin/x"; each counts once, and one of + ! !! at most."""
    prefixes = ""
    while word[len(prefixes) :][:1] in ("-", "@", ":", "+", "!"):
        char = word[len(prefixes)]
        privilege = prefixes.strip("-@:")
        if char in "-@:" and char in prefixes:
            break
        if char in "+!" and privilege not in ("", "!" if char == "!" else ""):
            break
        prefixes += char
    return prefixes, word[len(prefixes) :]


def simplify(path: str) -> str:
    """Without repeated slashes, "." components and a slash at the end."""
    if not path.startswith("/"):
        return path
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _check_program(program: str, text: str) -> None:
    if not program:
        raise CommandError(f"no program in {text!r}")
    if program.endswith(("/", "/.", "/..")):
        raise CommandError(f"{program!r} is a directory")
    if not program.startswith("/") and "/" in program:
        raise CommandError(f"{program!r} is neither an absolute path nor a bare name")


def _is_separator(text: str) -> bool:
    return text[:1] == ";" and (len(text) == 1 or text[1] in WHITESPACE)


def _resolve(word: str, name: Name, unit_path: str) -> tuple[str, bool]:
    try:
        return resolve(word, name, unit_path)
    except SpecifierError as error:
        raise CommandError(str(error)) from None


def _take(text: str) -> tuple[str | None, str]:
    try:
        return take_word(text)
    except WordsError as error:
        raise CommandError(str(error)) from None
