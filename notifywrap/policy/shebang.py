"""What the first line of a script has executed: execve(2), and env(1) where that is named."""

from __future__ import annotations

__all__ = ["find_env_command", "parse_shebang"]

_BLANKS = " \t"
_SPECIAL = "\\\"'$#"  # env -S unquotes, and fills in variables
# Options of env(1) that say nothing about what is executed
_SIGNALS = ("--default-signal", "--ignore-signal", "--block-signal")


def parse_shebang(head: bytes) -> tuple[bytes, bytes]:
    """(interpreter, argument) of the script that begins with *head*; both empty for no script.

    The kernel takes all behind the first word for one argument (fs/binfmt_script.c), and blanks
    for nothing but spaces and tabs: `#!/bin/sh\\r` asks for a file of that name.
    """
    if head[:2] != b"#!":
        return b"", b""
    line = head[2:].partition(b"\n")[0].partition(b"\0")[0].strip(_BLANKS.encode())
    interpreter = line.replace(b"\t", b" ").partition(b" ")[0]
    return interpreter, line[len(interpreter) :].strip(_BLANKS.encode())


def find_env_command(argument: str) -> str | None:
    """What `env ARGUMENT` executes; None where that cannot be told from here."""
    if not argument.startswith("-"):
        # Blanks are part of the name. After NAME=VALUE comes the script itself, again.
        return argument if argument and "=" not in argument else None
    text, is_changed = _text_to_split(argument)
    if text is None or any(character in text for character in _SPECIAL):
        return None
    words = text.split()
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "--":
            break
        if option in ("-", "-i", "--ignore-environment"):
            is_changed = True
        elif option in ("-u", "--unset") and words:
            is_changed |= words.pop(0) == "PATH"
        elif option.startswith("--unset="):
            is_changed |= option == "--unset=PATH"
        elif option not in ("-v", "--debug") and option.partition("=")[0] not in _SIGNALS:
            return None
    while words and "=" in words[0]:
        is_changed |= words.pop(0).startswith("PATH=")
    # Looked up in another PATH than ours, unless it is a path
    return words[0] if words and not (is_changed and "/" not in words[0]) else None


def _text_to_split(argument: str) -> tuple[str | None, bool]:
    """(what -S is to split, was PATH taken away before it?); None where there is no -S."""
    if argument.startswith("--split-string="):
        return argument.partition("=")[2], False
    letters, is_split, text = argument[1:].partition("S")
    if not is_split or letters.strip("iv"):
        return None, False
    return text, "i" in letters
