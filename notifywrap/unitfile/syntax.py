"""The grammar of unit files (systemd.syntax(7)): text in, assignments with file and line out."""

from __future__ import annotations

import re
from typing import NamedTuple

from notifywrap.lean import TYPE_CHECKING, Enum
from notifywrap.unitfile.files import is_utf8
from notifywrap.unitfile.words import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Assignment", "Outcome", "Parsed", "Problem", "parse_text"]

WHITESPACE = " \t\n\r"
LONGEST = 1 << 20  # systemd's LONG_LINE_MAX, for what is continued as well
# What ends a line for systemd; several of these in a row are one end each where they differ.
_ENDS = re.compile(r"(?:\r\n|\n\r|\n|\r)\0?|\0")
SECTIONS = frozenset(
    (
        "Unit", "Install", "Service", "Socket", "Timer", "Path", "Mount", "Automount", "Swap",
        "Slice", "Scope",
    )
)  # fmt: skip


class Assignment(NamedTuple):
    """One `Key=value` line; *line* is where it begins, counted from 1."""

    section: str
    key: str
    value: str
    path: str
    line: int


class Outcome(Enum):
    """What systemd does about a mistake."""

    REFUSED = "systemd refuses the unit"
    CUT = "systemd ignores it and the rest of this file"  # of a drop-in
    IGNORED = "systemd ignores the line"
    PARTLY = "systemd ignores that and what follows on the line"


class Problem(NamedTuple):
    """What systemd does not accept.

    fix  what to write instead
    """

    path: str
    line: int
    text: str
    fix: str
    outcome: Outcome = Outcome.IGNORED

    def in_dropin(self) -> Problem:
        """The same, found in a drop-in: that is read up to there."""
        is_cut = self.outcome is Outcome.REFUSED
        return self._replace(outcome=Outcome.CUT) if is_cut else self


class Parsed(NamedTuple):
    """What one file says."""

    assignments: tuple[Assignment, ...]
    problems: tuple[Problem, ...]


def parse_text(text: str, path: str) -> Parsed:
    """Read the text of one unit file or drop-in; *path* is what findings call it.

    Never raises: what systemd ignores is a problem and left out.
    """
    assignments: list[Assignment] = []
    problems: list[Problem] = []
    section, is_known = "", False
    for line, content in _logical_lines(text):
        refused = _why_refused(content)
        if refused is not None:
            problems.append(Problem(path, line, *refused, Outcome.REFUSED))
            break  # systemd reads no further
        if content.startswith("["):
            section = content[1:-1]
            is_known = section in SECTIONS
            if not is_known and not section.startswith("X-"):
                fix = "write [Unit], [Service] or [Install] (or [X-...] for what is not systemd's)"
                problems.append(Problem(path, line, f"unknown section [{section}]", fix))
            continue
        key, equals, value = content.partition("=")
        key = key.rstrip(WHITESPACE)
        if not section:
            said = f"{shorten(content)} stands before any section"
            problems.append(Problem(path, line, said, "write [Service] or so above it"))
        elif not is_known:
            pass  # its header has been complained about
        elif not equals:
            fix = "write NAME=VALUE, or # before a comment"
            problems.append(Problem(path, line, f"there is no '=' in {shorten(content)}", fix))
        elif not key:
            said = f"there is no name before '=' in {shorten(content)}"
            problems.append(Problem(path, line, said, "write NAME=VALUE, or take the line out"))
        else:
            assignments.append(Assignment(section, key, value.strip(WHITESPACE), path, line))
    return Parsed(tuple(assignments), tuple(problems))


def _why_refused(content: str) -> tuple[str, str] | None:
    """(what is wrong with a line, what to do) where systemd reads no further; else None."""
    if len(content) > LONGEST:
        return "a line longer than 1 MiB", "write it shorter, or as several"
    if not is_utf8(content):
        return "a line that is not UTF-8", "save the file as UTF-8"
    if content.startswith("[") and not content.endswith("]"):
        return f"invalid section header {shorten(content)}", f"write {shorten(content)[1:-1]}]"
    return None


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number of the first line, text) with comments gone and continued lines joined.

    A comment line inside a continued one is left out and does not end it; an empty line does.
    """
    pieces: list[str] = []
    began = 0
    for number, raw in enumerate(_ENDS.split(text.removeprefix("\ufeff")), 1):
        if raw.lstrip(WHITESPACE)[:1] in ("#", ";"):
            if len(raw) > LONGEST:
                yield number, raw
            continue
        began = began or number
        pieces.append(raw)
        # A backslash that is itself escaped does not continue the line.
        if (len(raw) - len(raw.rstrip("\\"))) % 2:
            pieces[-1] = raw[:-1] + " "
            continue
        content = "".join(pieces).strip(WHITESPACE)
        if content:
            yield began, content
        pieces, began = [], 0
    content = "".join(pieces).strip(WHITESPACE)
    if content:
        yield began, content
