"""The files of EnvironmentFile=: a shell's assignments, nearly.

Source: systemd's env-file.c, and tried: what systemd.exec(5) says of them is less than what it
takes. A value may be several quoted pieces, a bare one is the last, "#" begins no comment there.
"""

from __future__ import annotations

import re

__all__ = ["parse_environment_file"]

NEWLINES = "\n\r"
SPACE = " \t\n\r"
COMMENT_ENDS_SINCE = 254  # before, a backslash at its end made the next line a part of it

_COMMENT = re.compile(r"[^\n\r]*+")
_OLD_COMMENT = re.compile(r"(?:[^\n\r\\]++|\\.)*+", re.DOTALL)
_NAME = re.compile(r".[^=\n\r]*+", re.DOTALL)
# What is quoted reaches to the next quote, or to the end of the file.
_SINGLE = re.compile(r"'([^']*+)'?")
_DOUBLE = re.compile(r'"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)', re.DOTALL)
_BARE = re.compile(r"(?:[^\n\r\\]++|\\.|\\\Z)++", re.DOTALL)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)


def parse_environment_file(text: str, version: int | None = None) -> dict[str, str]:
    """What the file says; names are not looked at.

    version  systemd's; None for a new one
    """
    is_old = version is not None and version < COMMENT_ENDS_SINCE
    found: dict[str, str] = {}
    index = 0
    while index < len(text):
        if text[index] in SPACE:
            index += 1
        elif text[index] in "#;":
            comment = (_OLD_COMMENT if is_old else _COMMENT).match(text, index)
            assert comment, "it matches nothing as well"
            index = comment.end()
        else:
            name = _NAME.match(text, index)
            assert name, "there is a character"
            index = name.end()
            if text[index : index + 1] == "=":
                found[name[0].strip(SPACE)], index = _read_value(text, index + 1)
    return found


def _read_value(text: str, index: int) -> tuple[str, int]:
    """(the value that begins at *index*, where it ends)."""
    pieces: list[str] = []
    while index < len(text) and text[index] not in NEWLINES:
        if text[index] in SPACE:
            index += 1
            continue
        if single := _SINGLE.match(text, index):
            pieces.append(single[1])
            index = single.end()
        elif double := _DOUBLE.match(text, index):
            pieces.append(_ESCAPE.sub(_in_quotes, double[1]))
            index = double.end()
        elif bare := _BARE.match(text, index):
            return "".join([*pieces, _unescape(bare[0])]), bare.end()
    return "".join(pieces), index


def _in_quotes(escape: re.Match[str]) -> str:
    """Only these are escapes between double quotes, as for a shell; a newline is left out."""
    char = escape[1]
    return char if char in '"\\`$' else "" if char == "\n" else f"\\{char}"


def _unescape(text: str) -> str:
    """A bare value; the space at its end does not count, unless a backslash is before it."""
    last = max((escape.end() for escape in _ESCAPE.finditer(text)), default=0)
    text = text[:last] + text[last:].rstrip(SPACE)
    return _ESCAPE.sub(lambda escape: "" if escape[1] in NEWLINES else escape[1], text)
