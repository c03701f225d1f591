"""The result as unit files, each line with its reason."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.harden.jailrules import KEY, join_jail
from notifywrap.harden.rootdirectory import NAME as ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from notifywrap.harden.model import Candidate, Pick, Socket

__all__ = ["NAME", "Result", "format_dropin", "format_socket", "name_socket"]

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


def name_socket(unit: str, socket: Socket) -> str:
    """What its .socket unit is called."""
    return f"{unit.removesuffix('.service')}-{socket.name}.socket"


def format_socket(unit: str, socket: Socket) -> str:
    """The text of a .socket unit for *unit*."""
    return "\n".join(
        [
            f"# Beside {unit}: systemd listens, and hands the socket over.",
            "[Socket]",
            f"ListenStream={socket.listen}",
            f"FileDescriptorName={socket.name}",
            f"Service={unit}",
            "",
            "[Install]",
            "WantedBy=sockets.target",
            "",
        ]
    )


def _kept(
    candidate: Candidate, pick: Pick, rejected: Iterable[tuple[Pick, tuple[str, ...]]]
) -> list[str]:
    lines = _comment(f"{candidate.why[:1].upper()}{candidate.why[1:]}.")
    for other, reasons in rejected:
        if other.name == pick.name and reasons:
            stronger = _show(candidate, other.tier)
            lines += _comment(f"Not {stronger}: {reasons[0]}.")
    return [*lines, *[f"{one.key}={one.value}" for one in candidate.tiers[pick.tier].settings]]


def _jail(kept: Sequence[tuple[Candidate, Pick]]) -> list[str]:
    """One line, as the last of several would be all that counts."""
    if not kept:
        return []
    joined = join_jail(one for rule, pick in kept for one in rule.tiers[pick.tier].settings)
    whys = "; ".join(rule.why for rule, _ in kept)
    lines = _comment(f"Around the daemon alone, and not notifywrap: {whys}.")
    return [*lines, *[f"{one.key}={one.value}" for one in joined]]


def _head(result: Result, by_name: dict[str, Candidate]) -> list[str]:
    """What the service needs of the .socket units beside it."""
    names = _sockets(result, by_name)
    lines = [f"{key}={' '.join(names)}" for key in ("Requires", "After")]
    return ["[Unit]", *lines, "[Service]", f"Sockets={' '.join(names)}"] if names else []


def _sockets(result: Result, by_name: dict[str, Candidate]) -> list[str]:
    return [
        name_socket(result.unit, one)
        for pick in result.kept
        for one in by_name[pick.name].tiers[pick.tier].sockets
    ]


def _undo(result: Result, by_name: dict[str, Candidate]) -> list[str]:
    """The commands, for all files that belong to it."""
    sockets = _sockets(result, by_name)
    paths = [f"{result.unit}.d/{NAME}", *sockets]
    if any(pick.name == ROOT for pick in result.kept):
        paths.append(f"{result.unit}.root")
    stop = [f"systemctl stop {' '.join(sockets)}"] if sockets else []
    rm = f"rm -r {' '.join(f'/etc/systemd/system/{path}' for path in paths)}"
    return [*stop, rm, "systemctl daemon-reload", f"systemctl restart {result.unit}"]


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
