"""The result as unit files, each line with its reason."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.harden.jailrules import KEY, join_jail
from notifywrap.harden.rootdirectory import NAME as ROOT
from notifywrap.harden.sockets import format_sockets, name_socket

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from notifywrap.harden.model import Candidate, Pick, Tier

__all__ = ["NAME", "Result", "format_dropin"]

NAME = "50-harden.conf"
_WIDTH = 100


class Result(NamedTuple):
    """What the drop-in is to say.

    unit      its name, with .service
    summary   lines for the head
    kept      in the order in which their lines have to stand
    rejected  (pick, reasons)
    start     an ExecStart= that replaces the unit's, "" for none
    """

    unit: str
    summary: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    kept: tuple[Pick, ...]
    rejected: tuple[tuple[Pick, tuple[str, ...]], ...]
    untried: tuple[str, ...] = ()
    start: str = ""


def format_dropin(result: Result) -> str:
    """The text of UNIT.d/50-harden.conf. The same result gives the same text."""
    by_name = {each.name: each for each in result.candidates}
    lines = [
        f"# Found by `notifywrap harden`: the tightest sandbox that {result.unit} has stood.",
        *[f"# {line}" for line in result.summary],
        "# To undo:",
        *[f"#   {command}" for command in _undo(result, by_name)],
        *_head(result, by_name),
        "[Service]",
    ]
    if result.start:
        lines += [
            "# Through notifywrap, so that systemd knows when it is ready.",
            "Type=notify",
            "ExecStart=",
            f"ExecStart={result.start}",
        ]
    is_rule = {each.name: each.group == KEY for each in result.candidates}
    for pick in result.kept:
        if not is_rule[pick.name]:
            lines += _kept(by_name[pick.name], pick, result.rejected)
    lines += _jail([(by_name[pick.name], pick) for pick in result.kept if is_rule[pick.name]])
    lines += _rejected(result, by_name)
    return "\n".join([*lines, ""])


def _kept(
    candidate: Candidate, pick: Pick, rejected: Iterable[tuple[Pick, tuple[str, ...]]]
) -> list[str]:
    tier = candidate.tiers[pick.tier]
    why = tier.why or candidate.why
    lines = _comment(f"{why[:1].upper()}{why[1:]}.")
    for other, reasons in rejected:
        if other.name == pick.name and reasons:
            is_part = set(candidate.tiers[other.tier].settings) < set(tier.settings)
            stronger = f"{_show(candidate, other.tier)}{' alone' if is_part else ''}"
            lines += _comment(f"Not {stronger}: {reasons[0]}.")
    own = [one for one in tier.settings if one.section == "Service"]
    return [*lines, *[f"{one.key}={one.value}" for one in own]]


def _jail(kept: Sequence[tuple[Candidate, Pick]]) -> list[str]:
    """One line, as the last of several would be all that counts."""
    if not kept:
        return []
    joined = join_jail(one for rule, pick in kept for one in rule.tiers[pick.tier].settings)
    whys = "; ".join(rule.why for rule, _ in kept)
    lines = _comment(f"Around the daemon alone, and not notifywrap: {whys}.")
    return [*lines, *[f"{one.key}={one.value}" for one in joined]]


def _head(result: Result, by_name: dict[str, Candidate]) -> list[str]:
    """What it needs of the .socket units beside it."""
    tiers = _tiers(result, by_name)
    sockets = [one for tier in tiers for one in tier.sockets]
    if not sockets:
        return []
    named = " ".join(name_socket(result.unit, one) for one in sockets)
    lines = [f"{key}={named}" for key in ("Requires", "After")]
    more = [one for tier in tiers for one in tier.settings if one.section == "Unit"]
    lines += [f"{one.key}={one.value}" for one in more]
    own = " ".join(name_socket(result.unit, one) for one in sockets if not one.is_backend)
    return ["[Unit]", *lines, *(["[Service]", f"Sockets={own}"] if own else [])]


def _tiers(result: Result, by_name: dict[str, Candidate]) -> list[Tier]:
    return [by_name[pick.name].tiers[pick.tier] for pick in result.kept]


def _undo(result: Result, by_name: dict[str, Candidate]) -> list[str]:
    """The commands, for all files that belong to it."""
    sockets = [
        name
        for tier in _tiers(result, by_name)
        for name in format_sockets(result.unit, tier.sockets)
    ]
    unit = shlex.quote(result.unit)
    paths = [f"{result.unit}.d/{NAME}", *sockets]
    if any(pick.name == ROOT for pick in result.kept):
        paths.append(f"{result.unit}.root")
    stop = [f"systemctl stop {shlex.join(sockets)}"] if sockets else []
    rm = f"rm -r {shlex.join(f'/etc/systemd/system/{path}' for path in paths)}"
    return [*stop, rm, "systemctl daemon-reload", f"systemctl restart {unit}"]


def _rejected(result: Result, by_name: dict[str, Candidate]) -> list[str]:
    kept = {pick.name for pick in result.kept}
    lines: list[str] = []
    for pick, reasons in result.rejected:
        if pick.name not in kept:
            said = "; ".join(reasons) or "no reason was seen"
            lines += _comment(f"Rejected {_show(by_name[pick.name], pick.tier)}: {said}.")
    if result.untried:
        lines += _comment(f"Not tried: {', '.join(result.untried)}.")
    return ["", *lines] if lines else []


def _show(candidate: Candidate, tier: int) -> str:
    return " ".join(f"{one.key}={one.value}" for one in candidate.tiers[tier].settings)


def _comment(text: str) -> list[str]:
    # One paragraph: a line of a log in it must not end the comment, nor continue it by a backslash.
    plain = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    lines = textwrap.wrap(plain, _WIDTH - 2, break_on_hyphens=False, break_long_words=False)
    return [f"# {line.rstrip(chr(92))}" for line in lines]
