"""What the attempts came to: a table for people, JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from notifywrap.drill.table import ALL, MORE, NAMED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from notifywrap.drill.attempt import Attempt, Finding

__all__ = ["count_allowed", "format_json", "format_list", "format_table", "format_total"]

_WIDTH = max(len(attempt.name) for attempt in ALL)


def count_allowed(findings: Iterable[Finding], attempts: Sequence[Attempt] = NAMED) -> int:
    """How many of *attempts* worked."""
    names = {attempt.name for attempt in attempts}
    return sum(finding.allowed for finding in findings if finding.name in names)


def format_total(findings: Sequence[Finding]) -> str:
    """ "7 of 66 allowed (+ 3 of 14 more)"."""
    more = f"(+ {count_allowed(findings, MORE)} of {len(MORE)} more)"
    return f"{count_allowed(findings)} of {len(NAMED)} allowed {more}"


def format_table(findings: Sequence[Finding], remarks: Iterable[str]) -> str:
    """One line an attempt, those that worked in capitals, then the total."""
    lines = [f"note: {remark}" for remark in remarks]
    by_name = {finding.name: finding for finding in findings}
    for attempts in (NAMED, MORE):
        if attempts is MORE:
            lines += ["", "more:"]
        for attempt in attempts:
            found = by_name[attempt.name]
            verdict = "ALLOWED" if found.allowed else "denied "
            after = " (comes after the permission check)" if found.allowed and found.reason else ""
            line = f"{attempt.name:{_WIDTH}}  {verdict}  {found.reason}{after}"
            lines.append(line.rstrip())
    return "\n".join([*lines, "", format_total(findings), ""])


def format_json(subject: str, uid: int, findings: Sequence[Finding], remarks: Iterable[str]) -> str:
    """The same for programs."""
    words = {attempt.name: attempt.words for attempt in ALL}
    named = {attempt.name for attempt in NAMED}
    told = {
        "subject": subject,
        "uid": uid,
        "allowed": count_allowed(findings),
        "of": len(NAMED),
        "more_allowed": count_allowed(findings, MORE),
        "more_of": len(MORE),
        "remarks": list(remarks),
        "attempts": [
            {
                "name": found.name,
                "allowed": found.allowed,
                "reason": found.reason,
                "counted": found.name in named,
                "what": words[found.name],
            }
            for found in findings
        ],
    }
    return json.dumps(told, indent=2) + "\n"


def format_list(facts: Iterable[str]) -> str:
    """What each attempt does.

    facts  what some of them are about in this unit
    """
    lines = [*facts, ""] if facts else []
    for title, attempts in (("", NAMED), ("more:", MORE)):
        lines += ["", title] if title else []
        lines += [f"{attempt.name:{_WIDTH}}  {attempt.words}" for attempt in attempts]
    return "\n".join([*lines, ""])
