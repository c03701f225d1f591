"""ExecStart= and its kin: prefixes, program and arguments (systemd.service(5), COMMAND LINES)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from notifywrap.unitfile.specifiers import resolve
from notifywrap.unitfile.words import WHITESPACE, WordsError, shorten, skip_space, take_word

if TYPE_CHECKING:
    from notifywrap.unitfile.specifiers import Name

__all__ = ["Command", "ExecLine", "parse_commands"]

NAME_MAX, PATH_MAX = 255, 4096  # limits.h


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


class ExecLine(NamedTuple):
    """One Exec line as systemd takes it.

    commands  those that it takes
    error     why it does not take the next one, nor any behind that; "" where it takes all
    is_fatal  the whole unit is refused then, else they are ignored
    """

    commands: tuple[Command, ...]
    error: str = ""
    is_fatal: bool = False


class _CommandError(ValueError):
    def __init__(self, text: str, is_fatal: bool) -> None:
        super().__init__(text)
        self.is_fatal = is_fatal


def parse_commands(value: str, name: Name, path: str = "") -> ExecLine:
    """The commands of one Exec line; several where a lone ";" is between them.

    path  the unit file's, for %y
    """
    commands: list[Command] = []
    index = skip_space(value, 0)
    while index < len(value):
        try:
            command, index = _take_command(value, index, name, path)
        except _CommandError as error:
            return ExecLine(tuple(commands), str(error), error.is_fatal)
        if command is not None:
            commands.append(command)
    return ExecLine(tuple(commands))


def _take_command(text: str, index: int, name: Name, path: str) -> tuple[Command | None, int]:
    """The command that begins at *index*, and where the next one does.

    Tried with systemd 252 and 262: a mistake is fatal, but in the first word's quotes, and behind
    the prefix "-".
    """
    try:
        first, index = take_word(text, index)
    except WordsError as error:
        raise _CommandError(str(error), is_fatal=False) from None
    if first is None or first == ";":
        return None, index
    prefixes, program = split_prefixes(first)
    try:
        program, is_whole = resolve(program, name, path)
        _check_program(program)
        argv, end = _take_arguments(text, index)
        resolved = [resolve(word, name, path) for word in argv]
        if "@" not in prefixes:
            resolved.insert(0, (program, is_whole))
        if not resolved:
            raise ValueError(f"no argv[0] in {shorten(text)}")
    except ValueError as error:
        raise _CommandError(str(error), is_fatal="-" not in prefixes) from None
    is_whole = is_whole and all(known for _, known in resolved)
    words = tuple(word for word, _ in resolved)
    return Command(prefixes, simplify(program), words, is_whole), end


def _take_arguments(text: str, index: int) -> tuple[list[str], int]:
    """The words up to a lone ";", and where the next command begins. Raises WordsError."""
    argv: list[str] = []
    while index < len(text):
        if _is_separator(text, index):
            return argv, skip_space(text, index + 1)
        if text[index] == "\\" and _is_separator(text, index + 1):
            argv.append(";")
            index = skip_space(text, index + 2)
            continue
        word, index = take_word(text, index)
        if word is not None:
            argv.append(word)
    return argv, index


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


def _check_program(program: str) -> None:
    """Raises ValueError for what systemd takes for no program, without looking whether it is
    there."""
    if not program:
        raise ValueError("there is no program")
    if any(char < " " or char in "\"'\\\x7f" for char in program):
        raise ValueError(f"{shorten(program)} has a quote, a backslash or a control character")
    if program.endswith(("/", "/.", "/..")) or program in (".", ".."):
        raise ValueError(f"{shorten(program)} is a directory")
    if not program.startswith("/") and "/" in program:
        raise ValueError(f"{shorten(program)} is neither an absolute path nor a bare name")
    parts = [len(part.encode("utf-8", "surrogateescape")) for part in program.split("/")]
    if max(parts) > NAME_MAX or sum(parts) + len(parts) > PATH_MAX:
        raise ValueError(f"{shorten(program)} is too long for a path")


def _is_separator(text: str, index: int) -> bool:
    return text[index : index + 1] == ";" and text[index + 1 : index + 2] in ("", *WHITESPACE)
