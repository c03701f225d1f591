"""The unit that stands for the one to be judged: all that makes its sandbox, and nothing else.

It has a name of its own, and so state, cache, log and runtime directories of its own: the real
service, its data and its users are not touched.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.unitfile.specifiers import resolve
from notifywrap.unitfile.values import parse_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from notifywrap.unitfile.unit import Unit

__all__ = [
    "DIRECTORIES",
    "LIMIT_S",
    "Throwaway",
    "make_throwaway",
    "name_in_root",
    "rename",
    "settle",
    "state_directories",
]

LIMIT_S = 180  # for all attempts; they take two seconds

# What a service does, when and how often, and what happens then: all but the sandbox.
_LEFT_OUT = re.compile(
    r"Exec(?!Paths$|SearchPath$).*|Type|ExitType|NotifyAccess|Restart.*|Watchdog.*|Timeout.*"
    r"|RuntimeMaxSec|RuntimeRandomizedExtraSec|StartLimit.*|FailureAction|SuccessAction"
    r"|SuccessExitStatus|RemainAfterExit|GuessMainPID|PIDFile|BusName|Sockets|OpenFile"
    r"|FileDescriptorStore.*|NonBlocking|USBFunction.*|Standard(Input|Output|Error).*|TTY.*"
    r"|Utmp.*|Syslog.*|Log(Namespace|LevelMax|ExtraFields|RateLimit.*|FilterPatterns)"
    r"|Kill(Mode|Signal)|SendSIG.*|FinalKillSignal|OOMPolicy|ReloadSignal|LimitNPROC"
    r"|RootDirectoryStartOnly|PermissionsStartOnly|SystemCallErrorNumber"
    r"|ConfigurationDirectory.*|RuntimeDirectoryPreserve"
    r"|(State|Cache|Logs|Runtime)Directory"
)
DIRECTORIES = {
    "StateDirectory": ("%S", "/var/lib"),
    "CacheDirectory": ("%C", "/var/cache"),
    "LogsDirectory": ("%L", "/var/log"),
    "RuntimeDirectory": ("%t", "/run"),
}
_OF_THE_NAME = re.compile(r"%(%|[nNpPiIjJfyY])")
_NOTIFIES = ("notify", "notify-reload")


class Throwaway(NamedTuple):
    """A unit file's text.

    paths          (old, new) for each directory that got another name
    max_processes  what LimitNPROC= was, -1 for none
    remarks        what is not as in the unit, for people
    """

    text: str
    paths: tuple[tuple[str, str], ...]
    max_processes: int
    remarks: tuple[str, ...]

    def move(self, text: str) -> str:
        """*text* with the paths of the service's own directories replaced."""
        for old, new in self.paths:
            text = re.sub(rf"(?<![\w/.]){re.escape(old)}(?![\w.-])", new, text)
        return text


def make_throwaway(
    unit: Unit, tag: str, home: str, python: str, needed: Iterable[str]
) -> Throwaway:
    """A unit named *tag* with the sandbox of *unit*.

    home    a directory with the program to run, and where its report goes
    needed  what *python* maps as code: it has to be executable
    """
    throwaway = Throwaway("", tuple(rename(unit, tag)), _processes(unit), ())
    sandbox = [
        f"{key}={throwaway.move(settle(line.value, unit))}"
        for section, key in unit.settings()
        if section == "Service" and not _LEFT_OUT.fullmatch(key)
        for line in unit.lines(key)
    ]
    for key in DIRECTORIES:
        names = " ".join(f"{tag}{suffix}" for suffix in _suffixes(unit.words(key)))
        sandbox += [f"{key}={names}"] if names else []
    missing = _missing_code(unit, needed)
    if missing:
        sandbox.append(f"ExecPaths={' '.join(missing)}")
    namespaces = unit.words("JoinsNamespaceOf", section="Unit")
    lines = [
        "[Unit]",
        f"Description=What could an intruder in {unit.name.full} do? (notifywrap drill)",
        *[f"JoinsNamespaceOf={name}\nAfter={name}" for name in namespaces],
        "[Service]",
        *sandbox,
        "Type=oneshot",  # `systemctl start` then waits for its end, and says how it ended
        f"ExecStart={_privilege(unit)}{python} -I -S -B -",
        f"NotifyAccess={_access(unit)}",
        f"TimeoutStartSec={LIMIT_S}",
        "SystemCallErrorNumber=EPERM" if unit.text("SystemCallErrorNumber") else "",
        f"StandardInput=file:{home}/program",
        f"StandardOutput=append:{home}/report",
        f"StandardError=append:{home}/errors",
    ]
    remarks = []
    if missing:
        remarks.append(
            "ExecPaths= leaves out the Python that makes the attempts; it was added, so"
            " `exec python` says nothing about this unit"
        )
    return throwaway._replace(text="\n".join([*lines, ""]), remarks=tuple(remarks))


def state_directories() -> list[str]:
    """Where systemd may have made directories for it, which outlive the unit."""
    bases = ("/var/lib", "/var/cache", "/var/log", "/run")
    return [f"{base}{private}" for base in bases for private in ("", "/private")]


def name_in_root(unit: Unit, path: str) -> str:
    """What the file at *path* is called in the root directory of *unit*, if it has one of its own.

    There a link's target need not be: BindReadOnlyPaths=/usr/bin/python3 makes a file of that name.
    """
    for word in (*unit.words("BindReadOnlyPaths"), *unit.words("BindPaths")):
        source, _, rest = word.lstrip("-+").partition(":")
        if os.path.realpath(source) == path:
            return rest.partition(":")[0] or source
    return path


def _suffixes(words: list[str]) -> list[str]:
    return [f"-{number}" if number else "" for number in range(len(words))]


def rename(unit: Unit, tag: str) -> Iterable[tuple[str, str]]:
    """(old, new) for each path of a directory of the service's own, the longer ones first."""
    for key, (specifier, base) in DIRECTORIES.items():
        names = [word.partition(":")[0] for word in unit.words(key)]
        renamed = zip(names, _suffixes(names), strict=True)
        for name, suffix in sorted(renamed, reverse=True):  # a/b before a
            for place in (specifier, f"{base}/private", base):
                yield f"{place}/{name}", f"{place}/{tag}{suffix}"


def settle(value: str, unit: Unit) -> str:
    """*value* with the specifiers resolved that mean the unit's own name."""

    def resolved(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%%"
        return resolve(match[0], unit.name, unit.path)[0].replace("%", "%%")

    return _OF_THE_NAME.sub(resolved, value)


def _processes(unit: Unit) -> int:
    number = parse_number(unit.text("LimitNPROC"))
    return -1 if number is None else number


def _privilege(unit: Unit) -> str:
    commands = unit.commands("ExecStart")
    return "".join(char for char in commands[0][0].prefixes if char in "+!") if commands else ""


def _access(unit: Unit) -> str:
    is_main = unit.text("Type") in _NOTIFIES or unit.span("WatchdogSec", default=0) > 0
    default = "main" if is_main else "none"
    return unit.choice("NotifyAccess", ("none", "main", "exec", "all"), default)


def _missing_code(unit: Unit, needed: Iterable[str]) -> list[str]:
    """Which of *needed* the unit does not let anybody execute."""
    rules = [(path.lstrip("-+"), False) for path in unit.words("NoExecPaths")]
    rules += [(path.lstrip("-+"), True) for path in unit.words("ExecPaths")]
    expanded = [(os.path.realpath(path), may) for path, may in rules]

    def may_run(path: str) -> bool:
        covering = [
            (len(prefix), may)
            for prefix, may in expanded
            if prefix == "/" or path == prefix or path.startswith(f"{prefix}/")
        ]
        return max(covering, default=(0, True))[1]

    return [path for path in needed if not may_run(os.path.realpath(path))]
