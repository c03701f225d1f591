"""What is executed inside a service's sandbox, and what fails where it may not be."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.policy.probe import ExecProbe
from notifywrap.unitfile.files import read_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from notifywrap.unitfile.execline import Command
    from notifywrap.unitfile.findings import Subject
    from notifywrap.unitfile.unit import Unit

__all__ = ["EXEC_KEYS", "Executed", "find_executed", "find_interpreters"]

# In the order in which they run; of ExecStart= the main process comes.
EXEC_KEYS = (
    "ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop",
    "ExecStopPost",
)  # fmt: skip
# Where systemd looks for a bare name, and PATH where the unit does not set it (systemd.exec(5)).
PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Executed(NamedTuple):
    """A program, and what happens when it cannot be executed.

    places    where it lies: one absolute path, or for a bare name each that is looked at
    outcome   what happens then
    is_fatal  false where the failure does not count (a "-" before the command)
    """

    places: tuple[str, ...]
    outcome: str
    is_fatal: bool = True

    @property
    def name(self) -> str:
        """Its path; of several the base name."""
        return self.places[0] if len(self.places) == 1 else posixpath.basename(self.places[0])


def find_executed(subject: Subject) -> Iterator[Executed]:
    """What the unit executes inside its sandbox, notifywrap's own commands included."""
    unit = subject.unit
    # systemd.service(5): then the sandbox is for the main process alone.
    keys = ("ExecStart",) if unit.flag("PermissionsStartOnly") else EXEC_KEYS
    for key in keys:
        for command, _ in unit.commands(key):
            if "+" not in command.prefixes:
                is_fatal = "-" not in command.prefixes
                outcome = f"{key}= fails with 203/EXEC" if is_fatal else f"{key}= is left out"
                if key == "ExecCondition":
                    outcome = f"{key}= counts as not met: the unit is never started"
                yield from _executed(unit, command.path, outcome, is_fatal)
    if any("+" in command.prefixes for command, _ in subject.starts):
        return  # all the rest is done by the main process
    if subject.run is not None and _is_env(subject.starts[0][0]):
        yield from _executed(unit, subject.run.program, "env fails with exit status 126")
    if subject.run is None:
        return
    for path in subject.target[:1]:
        yield from _executed(unit, path, "notifywrap fails with exit status 126")
    for probe in subject.probes:
        if isinstance(probe, ExecProbe):
            yield from _executed(unit, probe.argv[0], f"{probe.text} never passes")
    spec = subject.run.understood.spec if subject.run.understood else None
    if spec and spec.reload_command:
        yield from _executed(unit, spec.reload_command[0], "--reload exec: fails")


def find_interpreters(subject: Subject, path: str) -> list[str]:
    """What stands behind #! in the script at *path*; [] where that cannot be read."""
    if subject.unit.tree is None:
        return []
    try:
        first = read_start(subject.unit.tree.real(path), 256).partition(b"\n")[0]
    except OSError:
        return []
    words = first[2:].decode("utf-8", "surrogateescape").split() if first[:2] == b"#!" else []
    if words[:1] == ["/usr/bin/env"] and len(words) > 1:
        return [words[0], f"/usr/bin/{words[1]}"]
    return words[:1]


def _executed(unit: Unit, program: str, outcome: str, is_fatal: bool = True) -> Iterator[Executed]:
    """*program* with the places where it is looked for; nothing where none of them is known."""
    if program.startswith("/"):
        yield Executed((program,), outcome, is_fatal)
    elif program and "/" not in program and "%" not in program and "$" not in program:
        places = [f"{directory}/{program}" for directory in _search(unit)]
        if unit.tree is not None:
            places = [place for place in places if unit.tree.exists(place)]
        if places:
            yield Executed(tuple(places), outcome, is_fatal)


def _search(unit: Unit) -> Iterable[str]:
    paths = [part for word in unit.words("ExecSearchPath") for part in word.split(":")]
    told = unit.environment()[0].get("PATH", "").split(":")
    return dict.fromkeys([*paths, *(each for each in told if each[:1] == "/"), *PATH])


def _is_env(command: Command) -> bool:
    return posixpath.basename(command.path) == "env"
