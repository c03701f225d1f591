"""The pitfalls, each a small function; and how a unit is held against all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.unitfile.findings import About, Finding, Severity, Subject
from notifywrap.unitfile.rules import (
    commandline,
    confinement,
    credentials,
    daemon,
    execution,
    manager,
    reading,
    refused,
    roots,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.unitfile.findings import Rule, Understand
    from notifywrap.unitfile.unit import Unit

__all__ = ["RULES", "lint"]

RULES: tuple[Rule, ...] = (
    *reading.RULES,
    *refused.RULES,
    *commandline.RULES,
    *credentials.RULES,
    *manager.RULES,
    *daemon.RULES,
    *confinement.RULES,
    *execution.RULES,
    *roots.RULES,
)


def lint(unit: Unit, understand: Understand) -> list[Finding]:
    """Everything that is wrong with *unit*, in the order of its lines.

    understand  reads a command line of notifywrap's, see findings.py
    """
    if unit.name.suffix != ".service":
        rule = reading.RULES[0]
        return [
            Finding(rule.name, found.severity, line.path, line.line, found.text, found.fix)
            for line, found in reading.mistakes(unit)
        ]
    subject = Subject(unit, understand)
    files = {path: number for number, path in enumerate([unit.path, *unit.dropins])}
    findings = [finding for rule in RULES for finding in _apply(rule, subject)]
    return sorted(findings, key=lambda found: (files.get(found.path, 0), found.line))


def _apply(rule: Rule, subject: Subject) -> Iterator[Finding]:
    if rule.about is About.OURS and not subject.is_ours:
        return
    if rule.about is About.NOTIFY and not (subject.is_notify or subject.is_ours):
        return
    for found in rule.find(subject):
        line = subject.place(found.where)
        severity = found.severity
        if rule.is_advice and not subject.is_ours:
            severity = Severity.HINT
        yield Finding(rule.name, severity, line.path, line.line, found.text, found.fix)
