"""What is judged: a unit or a command, and what the attempts are told about it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.drill.world import find_configuration
from notifywrap.errors import SpecError
from notifywrap.policy.jailspec import parse_jail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from notifywrap.unitfile.findings import Subject
    from notifywrap.unitfile.unit import Unit

__all__ = ["Service", "read_command", "read_unit"]


class Service(NamedTuple):
    """Who would be the intruder's.

    binary         its program
    configuration  a file that it reads
    state_file     a file that it keeps, when it has no state directory
    rules          what --jail takes away, None for no jail
    is_wrapped     does notifywrap start it?
    """

    binary: str
    configuration: str = ""
    state_file: str = ""
    rules: str | None = None
    is_wrapped: bool = False

    def facts(self) -> list[str]:
        """What rows that carry another service's words are about here."""
        kept = self.state_file or "one in its state directory, else a new one beside the former"
        jail = "none" if self.rules is None else self.rules.replace("yes", "the usual rules")
        return [
            f"modify own binary: {self.binary}",
            f"write traefik.toml, its configuration: {self.configuration or 'none is named'}",
            f"write acme.json, a file that it keeps: {kept}",
            f"--jail: {jail}",
        ]


def read_command(command: Sequence[str], values: Mapping[str, list[str]]) -> Service:
    """A command as `notifywrap -- COMMAND` would start it here. Raises SpecError."""
    binary = shutil.which(command[0]) if command else shutil.which("true")
    if binary is None:
        raise SpecError(f"drill: {command[0]!r}: no such command, or it cannot be executed")
    return Service(
        os.path.realpath(binary),
        find_configuration(command[1:]),
        rules=_rules(values),
        is_wrapped="--jail" in values,
    )


def read_unit(subject: Subject) -> Service:
    """The service of a unit. Raises SpecError when it cannot be known what it starts."""
    unit, target = subject.unit, subject.target
    if unit.name.suffix != ".service":
        raise SpecError(f"{unit.path}: not a service")
    if not target:
        why = "has no ExecStart=" if subject.run is None else "its ExecStart= cannot be understood"
        error = subject.run.understood.error if subject.run and subject.run.understood else ""
        raise SpecError(f"{unit.path}: {why}{f': {error}' if error else ''}")
    path = target[0] if subject.is_ours else subject.starts[0][0].path
    return Service(
        os.path.realpath(shutil.which(path) or path),
        find_configuration(target[1:]) or _named_file(unit) or os.path.abspath(unit.path),
        _kept_file(unit),
        _rules(subject.values),
        subject.is_ours,
    )


def _rules(values: Mapping[str, list[str]]) -> str | None:
    given = ",".join(values.get("--jail", ()))
    if "$" not in given:  # else it is understood where systemd has set the variables
        return given if given and parse_jail([given], "--jail") else None
    return given


def _named_file(unit: Unit) -> str:
    """A file that the unit names, or the first of a directory: what it asserts or protects."""
    asserted = unit.words("AssertPathExists", section="Unit")
    conditions = unit.words("ConditionPathExists", section="Unit")
    for path in (*unit.words("ReadOnlyPaths"), *asserted, *conditions):
        path = path.lstrip("-+|!")
        if os.path.isdir(path):
            path = next((each.path for each in os.scandir(path) if each.is_file()), "")
        if os.path.isfile(path):
            return path
    return ""


def _kept_file(unit: Unit) -> str:
    for path in unit.words("ReadWritePaths"):
        path = path.lstrip("-+")
        if os.path.isfile(path):
            return path
    return ""
