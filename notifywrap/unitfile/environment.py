"""Which environment a unit gives: Environment= and the files of EnvironmentFile=."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.unitfile.words import WHITESPACE, WordsError, split_quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["parse_assignments", "parse_environment_file", "words_of"]


def parse_assignments(words: Iterable[str]) -> dict[str, str]:
    """{"A": "1"} of ["A=1"]; what is no assignment is ignored, as systemd does."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals and _is_name(name):
            found[name] = value
    return found


def parse_environment_file(text: str) -> dict[str, str]:
    """What a file of EnvironmentFile= says (systemd.exec(5)): one NAME=value a line, # and ;
    comments, quotes, a backslash continues a line."""
    joined = ""
    found: dict[str, str] = {}
    for raw in text.split("\n"):
        if not joined and raw.lstrip(WHITESPACE)[:1] in ("#", ";", ""):
            continue
        joined += raw
        quote = _open_quote(joined)
        if quote:
            joined += "\n"
            continue
        if (len(joined) - len(joined.rstrip("\\"))) % 2:
            joined = joined[:-1]
            continue
        name, equals, value = joined.strip(WHITESPACE).partition("=")
        joined = ""
        if equals and _is_name(name.rstrip(WHITESPACE)):
            found[name.rstrip(WHITESPACE)] = _unquote(value.strip(WHITESPACE))
    return found


def _open_quote(line: str) -> str:
    """The quote that a value begins with and that has not come again; "" for none."""
    value = line.partition("=")[2].lstrip(WHITESPACE)
    if value[:1] not in ("'", '"'):
        return ""
    end = 1
    while end < len(value) and value[end] != value[0]:
        end += 2 if value[end] == "\\" and value[0] == '"' else 1
    return "" if end < len(value) else value[0]


def _unquote(value: str) -> str:
    if value[:1] == "'" and value.endswith("'") and len(value) > 1:
        return value[1:-1]
    if value[:1] == '"' and value.endswith('"') and len(value) > 1:
        inner, result, index = value[1:-1], "", 0
        while index < len(inner):
            # Only these are escapes between double quotes, as for a shell.
            if inner[index] == "\\" and inner[index + 1 : index + 2] in ('"', "\\", "`", "$", "\n"):
                index += 1
                if inner[index] == "\n":
                    index += 1
                    continue
            result += inner[index : index + 1]
            index += 1
        return result
    return value.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")


def _is_name(text: str) -> bool:
    return bool(text) and text.replace("_", "a").isalnum() and not text[0].isdigit()


def words_of(value: str) -> list[str]:
    """The words of one Environment= line; what comes after a broken quote is ignored."""
    try:
        return split_quoted(value)
    except WordsError:
        return []
