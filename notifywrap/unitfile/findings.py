"""What a rule has found, and what it looks at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from notifywrap.lean import Enum
from notifywrap.unitfile.sandbox import made_by_systemd
from notifywrap.unitfile.syntax import Assignment
from notifywrap.unitfile.words import expand_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from notifywrap.policy.probe import Probe
    from notifywrap.policy.spec import Spec
    from notifywrap.unitfile.execline import Command
    from notifywrap.unitfile.unit import Unit

__all__ = ["About", "Finding", "Found", "Rule", "Run", "Severity", "Subject", "Understand"]


class Severity(Enum):
    """How bad it is. Hints are for reading: they do not fail a check."""

    ERROR = "error"  # systemd refuses the unit, or a part of it cannot work
    WARNING = "warning"  # systemd ignores something, or it works until it matters
    HINT = "hint"


class Finding(NamedTuple):
    """One thing that is wrong with a unit.

    rule  the rule's name
    path, line  where
    text  what happens
    fix   what to write instead
    """

    rule: str
    severity: Severity
    path: str
    line: int
    text: str
    fix: str


class Found(NamedTuple):
    """A finding as a rule makes it: *where* is a line, or the setting to look up."""

    where: Assignment | str
    text: str
    fix: str
    severity: Severity = Severity.WARNING


class About(Enum):
    """Which units a rule is for."""

    ANY = "any service"
    NOTIFY = "Type=notify or notify-reload"
    OURS = "services that run notifywrap"


class Rule(NamedTuple):
    """One pitfall.

    about      which services it is looked for in
    is_advice  a hint alone where the service does not run notifywrap: its author may know better
    """

    name: str
    about: About
    find: Callable[[Subject], Iterator[Found]]
    is_advice: bool = False


class Understood(NamedTuple):
    """A command line of ours, understood as far as it can be without the machine that it is for.

    spec   None when something in it is wrong, or known there alone
    error  what is wrong; "" for nothing
    doubts what the wrapper itself would say at start
    """

    values: Mapping[str, list[str]]
    command: tuple[str, ...]
    spec: Spec | None = None
    error: str = ""
    doubts: tuple[str, ...] = ()


class Understand(Protocol):
    """The door's own reading of a command line (argv without the program's name)."""

    def __call__(
        self, argv: Sequence[str], env: Mapping[str, str], watchdog_s: float | None
    ) -> Understood: ...


class Run(NamedTuple):
    """notifywrap in an ExecStart= line.

    program     the path of notifywrap
    words       its arguments; () when it does not wrap anything
    is_whole    false where a variable or specifier is known at run time alone
    """

    program: str
    line: Assignment
    words: tuple[str, ...]
    is_whole: bool
    understood: Understood | None = None


class Subject:
    """A unit and all that rules ask about it."""

    def __init__(self, unit: Unit, understand: Understand) -> None:
        self.unit = unit
        self.env, self.knows_env = unit.environment()
        self.starts = unit.commands("ExecStart")
        self.type = unit.choice("Type", _TYPES, "")
        if not self.type:
            self.type = "dbus" if unit.text("BusName") else "simple" if self.starts else "oneshot"
        self.is_notify = self.type in ("notify", "notify-reload")
        watchdog_s = unit.span("WatchdogSec", default=0.0)
        self.watchdog_s = watchdog_s if 0 < watchdog_s < float("inf") else None
        self.version = unit.tree.systemd_version() if unit.tree else None
        self.run = self._find_run(understand)

    @property
    def is_ours(self) -> bool:
        """Does it run notifywrap?"""
        return self.run is not None

    @property
    def values(self) -> Mapping[str, list[str]]:
        """The wrapper's settings, wherever they come from."""
        return self.run.understood.values if self.run and self.run.understood else {}

    @property
    def main_is_target(self) -> bool:
        return self.values.get("--main") == ["target"]

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Every probe that the wrapper tries; () where that is not known."""
        spec = self.run.understood.spec if self.run and self.run.understood else None
        return (*spec.ready, *spec.live) if spec else ()

    @property
    def target(self) -> tuple[str, ...]:
        """argv of the daemon itself, behind notifywrap or not."""
        if self.run and self.run.understood:
            return self.run.understood.command
        if self.run or not self.starts:
            return ()
        return self.starts[0][0].argv

    @property
    def daemon(self) -> str:
        """The base name of the daemon's program; "" when it is not known."""
        if self.is_ours:
            return os.path.basename(self.target[0]) if self.target else ""
        return os.path.basename(self.starts[0][0].path) if self.starts else ""

    @property
    def is_root(self) -> bool:
        """Does it run as root?"""
        dynamic = self.unit.flag("DynamicUser")
        return not dynamic and self.unit.text("User", "root") in ("root", "0")

    @property
    def restart(self) -> str:
        return self.unit.choice("Restart", _RESTARTS, "no")

    @property
    def has_sockets(self) -> bool:
        """Does a .socket unit hand it its sockets? One of another name is ordered before."""
        names = [word for key in ("After", "Requires") for word in self.unit.words(key, "Unit")]
        return bool(self.unit.words("Sockets")) or any(name.endswith(".socket") for name in names)

    def place(self, where: Assignment | str) -> Assignment:
        """The line of a setting; that of ExecStart= where it is not set."""
        if not isinstance(where, str):
            return where
        unit = self.unit
        found = unit.at(where) or unit.at(where, section="Unit") or unit.at("ExecStart")
        return found or Assignment("", "", "", unit.path, 1)

    def _find_run(self, understand: Understand) -> Run | None:
        for command, line in self.starts:
            place = _find_program(command)
            if place < 0:
                continue
            words, unknown = list(command.argv[place + 1 :]), list[str]()
            if ":" not in command.prefixes:
                words, unknown = expand_words(words, made_by_systemd(self.unit) | self.env)
            # An unset variable is empty, if we know all that is set.
            is_known = self.knows_env and not _AT_RUN_TIME.intersection(unknown)
            is_whole = command.is_whole and (is_known or not unknown)
            program = command.path if place == 0 else command.argv[place]
            run = Run(program, line, tuple(words), is_whole)
            if not is_whole:
                return run
            granted_s = self.watchdog_s if self.is_notify else None
            return run._replace(understood=understand(words, self.env, granted_s))
        return None


_TYPES = ("simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle")
_RESTARTS = (
    "no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always",
)  # fmt: skip
NAME = "notifywrap"
# Variables that systemd sets, to what only it knows (systemd.exec(5), ENVIRONMENT VARIABLES).
_AT_RUN_TIME = frozenset(
    (
        "PATH", "LANG", "USER", "LOGNAME", "HOME", "SHELL", "INVOCATION_ID", "MANAGERPID",
        "MAINPID",
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
        "LISTEN_FDNAMES", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID",
    )
)  # fmt: skip


def _find_program(command: Command) -> int:
    """The word of argv that is notifywrap itself, -1 for none: alone, as `python -m notifywrap`,
    or as a script behind the interpreter's options."""
    if os.path.basename(command.path) == NAME:
        return 0
    if not os.path.basename(command.path).startswith(("python", "env")):
        return -1
    for index, word in enumerate(command.argv[1:], 1):
        if os.path.basename(word) == NAME:
            return index
        if not word.startswith("-") and "=" not in word:
            return -1
    return -1
