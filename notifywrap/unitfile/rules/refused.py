"""What systemd refuses a service for, when every line of it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.unitfile.findings import About, Found, Rule, Severity
from notifywrap.unitfile.syntax import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.unitfile.findings import Subject

__all__ = ["RULES"]


def several_starts(subject: Subject) -> Iterator[Found]:
    """A drop-in that means to replace the command, and adds one."""
    if subject.type != "oneshot" and len(subject.starts) > 1:
        _, line = subject.starts[-1]
        yield Found(
            line,
            f"ExecStart= has {len(subject.starts)} commands: systemd refuses the unit",
            "put an empty ExecStart= before the one that is to replace the others",
            Severity.ERROR,
        )


def no_start(subject: Subject) -> Iterator[Found]:
    """Nothing to run. Tried with systemd 252: a oneshot service may do with ExecStop= and
    RemainAfterExit=, and with SuccessAction= alone."""
    unit = subject.unit
    if subject.starts or _has_fatal_start(subject):
        return
    acts = unit.text("SuccessAction", "none", "Unit") != "none"
    stays = bool(unit.commands("ExecStop")) and unit.flag("RemainAfterExit")
    if subject.type == "oneshot" and (acts or stays):
        return
    text = "there is no ExecStart=: systemd refuses the unit"
    fix = "add ExecStart=/path/to/the/daemon"
    if unit.commands("ExecStop") and subject.type == "oneshot":
        text = "ExecStop= without ExecStart= and RemainAfterExit=yes: systemd refuses the unit"
        fix = "add RemainAfterExit=yes"
    elif any(not line.value for line in unit.lines("ExecStart")):
        text = "an empty ExecStart= took all commands away: systemd refuses the unit"
        fix = "name the command in another ExecStart= below it"
    yield Found("ExecStart", text, fix, Severity.ERROR)


def _has_fatal_start(subject: Subject) -> bool:
    """Is it said already that systemd refuses the unit for its ExecStart=?"""
    unit = subject.unit
    lines = {(line.path, line.line) for line in unit.lines("ExecStart")}
    return any(
        problem.outcome is Outcome.REFUSED and (problem.path, problem.line) in lines
        for problem in unit.exec_problems()
    )


def refused(subject: Subject) -> Iterator[Found]:
    """Settings that systemd does not take together."""
    unit = subject.unit
    if subject.type == "oneshot" and subject.restart in ("always", "on-success"):
        text = f"Restart={subject.restart} with Type=oneshot: systemd refuses the unit"
        yield Found("Restart", text, "write Restart=on-failure", Severity.ERROR)
    if subject.type == "dbus" and not unit.text("BusName"):
        text = "Type=dbus without BusName=: systemd refuses the unit"
        yield Found("Type", text, "add BusName=", Severity.ERROR)
    if unit.text("PAMName") and unit.text("KillMode") in ("process", "none"):
        text = f"PAMName= with KillMode={unit.text('KillMode')}: systemd refuses the unit"
        yield Found("KillMode", text, "write KillMode=mixed", Severity.ERROR)


RULES = (
    Rule("several-starts", About.ANY, several_starts),
    Rule("no-start", About.ANY, no_start),
    Rule("refused", About.ANY, refused),
)
