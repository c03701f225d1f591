"""`notifywrap check UNIT...`: what is wrong with a unit, before systemd finds out."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from notifywrap.cli.config import make_spec
from notifywrap.cli.journal import Journal, show
from notifywrap.cli.options import ONCE, OPTIONS, SWITCH, parse_arguments
from notifywrap.cli.settings import settle
from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.policy.defaults import find_doubts
from notifywrap.policy.events import Level
from notifywrap.unitfile.findings import Severity, Understood
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from notifywrap.unitfile.findings import Finding

__all__ = ["main", "understand"]

FOUND = 1
# What they name is on the machine that the unit is for, and may be secret there.
_ELSEWHERE = ("--http-header-credential", "--tls-ca", "--tls-cert", "--tls-key")


def main(argv: Sequence[str]) -> int:
    """Print what is wrong with each unit; 0 when nothing is but hints, 1 when something is, 2 for
    misuse."""
    if any(word in ("--help", "-h") for word in argv):
        from notifywrap.cli import about

        return about.main(("--help", "check"))
    try:
        arguments = parse_arguments(argv, {"--json": SWITCH, "--root": ONCE})
        names = (*arguments.words, *(arguments.command or ()))
        if not names:
            raise SpecError(
                "check: no unit given: notifywrap check [--root DIR] UNIT... (a name such as"
                " traefik.service, or a path with a slash in it)"
            )
        root = arguments.last("--root", "/")
        if not os.path.isdir(root):
            raise SpecError(f"--root: {root!r} is not a directory")
        findings, status = _look_at(names, root)
        if arguments.last("--json", "no") == "no":
            show("".join(_describe(each) for _, found in findings for each in found))
        else:
            records = [_record(name, each) for name, found in findings for each in found]
            show(json.dumps(records, indent=2) + "\n")
    except NotifywrapError as error:
        Journal().say(Level.ERROR, str(error))
        return error.exit_status
    severities = [each.severity for _, found in findings for each in found]
    return status or (FOUND if any(each is not Severity.HINT for each in severities) else 0)


def _look_at(names: Sequence[str], root: str) -> tuple[list[tuple[str, list[Finding]]], int]:
    """What is found in each, and the exit status for those that could not be looked at; 0 for none.

    One that is masked must not hide what is wrong with the others.
    """
    findings, status = [], 0
    for name in names:
        try:
            findings.append((name, lint(load(name, root), understand)))
        except NotifywrapError as error:
            Journal().say(Level.ERROR, str(error))
            status = error.exit_status
    return findings, status


def understand(argv: Sequence[str], env: Mapping[str, str], watchdog_s: float | None) -> Understood:
    """What the wrapper makes of its command line in a unit; for `lint()`."""
    try:
        arguments = parse_arguments(argv, OPTIONS)
        command = arguments.command or ()
    except SpecError as error:
        return Understood({}, (), error=str(error))
    try:
        settled, remarks = settle(arguments, env)
        values = {key: list(given) for key, given in settled.values.items()}
        here = {key: given for key, given in values.items() if key not in _ELSEWHERE}
        spec = make_spec(settled._replace(values=here), watchdog_s)
    except SpecError as error:
        text = str(error)
        known = {key: list(given) for key, given in arguments.values.items()}
        if _is_about_this_machine(text):
            return Understood(known, command)
        return Understood(known, command, error=text)
    doubts = [text for level, text in remarks if level is Level.NOTICE]
    doubts += find_doubts(spec.ready, spec.live, watchdog_s)
    return Understood(values, command, spec, doubts=tuple(doubts))


def _is_about_this_machine(text: str) -> bool:
    """Names and files that need not be known where the unit is only looked at."""
    return ": cannot resolve " in text or ": cannot read " in text or "pip install" in text


def _describe(found: Finding) -> str:
    place = f"{found.path}:{found.line}"
    return f"{place}: {found.severity.value}: {found.text}; {found.fix} [{found.rule}]\n"


def _record(name: str, found: Finding) -> dict[str, str | int]:
    return {
        "unit": name,
        "rule": found.rule,
        "severity": found.severity.value,
        "file": found.path,
        "line": found.line,
        "text": found.text,
        "fix": found.fix,
    }
