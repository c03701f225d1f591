"""The grammar of unit files (systemd.syntax(7)): text in, assignments with file and line out."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Assignment", "Parsed", "Problem", "parse_text"]

WHITESPACE = " \t\n\r"
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


class Problem(NamedTuple):
    """What systemd does not accept.

    fix       what to write instead
    is_fatal  the whole unit is refused, else only this line is ignored
    """

    path: str
    line: int
    text: str
    fix: str
    is_fatal: bool = False


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
        if content.startswith("["):
            if not content.endswith("]"):
                said = f"invalid section header {content!r}"
                problems.append(Problem(path, line, said, f"write {content}]", is_fatal=True))
                break  # systemd reads no further
            section = content[1:-1]
            is_known = section in SECTIONS
            if not is_known and not section.startswith("X-"):
                fix = "write [Unit], [Service] or [Install] (or [X-...] for what is not systemd's)"
                problems.append(Problem(path, line, f"unknown section [{section}]", fix))
            continue
        key, equals, value = content.partition("=")
        key = key.rstrip(WHITESPACE)
        if not section:
            said = f"{content!r} stands before any section"
            problems.append(Problem(path, line, said, "write [Service] or so above it"))
        elif not is_known:
            pass  # its header has been complained about
        elif not equals:
            fix = "write NAME=VALUE, or # before a comment"
            problems.append(Problem(path, line, f"there is no '=' in {content!r}", fix))
        elif not key:
            said = f"there is no name before '=' in {content!r}"
            problems.append(Problem(path, line, said, "write NAME=VALUE, or take the line out"))
        else:
            assignments.append(Assignment(section, key, value.strip(WHITESPACE), path, line))
    return Parsed(tuple(assignments), tuple(problems))


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """(number of the first line, text) with comments gone and continued lines joined.

    A comment line inside a continued one is left out and does not end it; an empty line does.
    """
    found: list[tuple[int, str]] = []
    continued, began = "", 0
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if raw.lstrip(WHITESPACE)[:1] in ("#", ";"):
            continue
        raw = raw.removesuffix("\r")
        began = began or number
        joined = continued + raw
        # A backslash that is itself escaped does not continue the line.
        if (len(joined) - len(joined.rstrip("\\"))) % 2:
            continued = joined[:-1] + " "
            continue
        found.append((began, joined.strip(WHITESPACE)))
        continued, began = "", 0
    if continued:
        found.append((began, continued.strip(WHITESPACE)))
    return [(number, content) for number, content in found if content]
