"""What systemd does not take, or takes otherwise than it was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.unitfile.findings import About, Found, Rule, Severity
from notifywrap.unitfile.specifiers import SpecifierError, resolve
from notifywrap.unitfile.syntax import Assignment
from notifywrap.unitfile.values import parse_boolean, parse_span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.unitfile.findings import Subject

__all__ = ["RULES"]

# Settings that are often put into the wrong section, and where systemd looks for them.
_SECTION_OF = {
    "StartLimitIntervalSec": "Unit",
    "StartLimitAction": "Unit",
    "After": "Unit",
    "Wants": "Unit",
    "Requires": "Unit",
    "AssertPathExists": "Unit",
    "AssertFileIsExecutable": "Unit",
    "ConditionPathExists": "Unit",
    "WantedBy": "Install",
    "Type": "Service",
    "ExecStart": "Service",
    "Restart": "Service",
    "RestartSec": "Service",
    "WatchdogSec": "Service",
    "NotifyAccess": "Service",
    "KillMode": "Service",
    "User": "Service",
    "DynamicUser": "Service",
    "TimeoutStartSec": "Service",
    "TimeoutStopSec": "Service",
    "Environment": "Service",
    "EnvironmentFile": "Service",
}
_OLD_PLACES = {("Service", "StartLimitAction")}  # still taken
_SPANS = (
    "WatchdogSec", "RestartSec", "TimeoutSec", "TimeoutStartSec", "TimeoutStopSec",
    "TimeoutAbortSec", "RuntimeMaxSec",
)  # fmt: skip
_FLAGS = (
    "DynamicUser", "PrivateDevices", "PrivateNetwork", "ProtectKernelTunables",
    "ProtectKernelModules", "ProtectKernelLogs", "ProtectClock", "ProtectHostname",
    "NoNewPrivileges", "MemoryDenyWriteExecute", "LockPersonality", "RestrictRealtime",
    "RestrictSUIDSGID", "RemainAfterExit", "SendSIGKILL", "RemoveIPC",
)  # fmt: skip
_CHOICES = {
    "Type": "simple exec forking oneshot dbus notify notify-reload idle",
    "Restart": "no on-success on-failure on-abnormal on-watchdog on-abort always",
    "KillMode": "control-group mixed process none",
    "NotifyAccess": "none main exec all",
    "OOMPolicy": "continue stop kill",
}


def not_taken(subject: Subject) -> Iterator[Found]:
    """Lines that systemd ignores, or refuses the whole unit for."""
    unit = subject.unit
    for problem in (*unit.problems, *unit.exec_problems()):
        line = Assignment("", "", "", problem.path, problem.line)
        if problem.is_fatal:
            yield Found(
                line, f"{problem.text}: systemd refuses the unit", problem.fix, Severity.ERROR
            )
        else:
            yield Found(line, f"{problem.text}: systemd ignores the line", problem.fix)
    for key in ("User", "Group"):
        for each in unit.lines(key):
            try:
                resolve(each.value, unit.name)
            except SpecifierError as error:
                text = f"{key}=: {error}: systemd refuses the unit"
                yield Found(each, text, f"write {key}=NAME", Severity.ERROR)


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
    """All of them reset, and none put in their place."""
    unit = subject.unit
    if subject.type != "oneshot" and not subject.starts and not unit.exec_problems():
        text = "there is no ExecStart=: systemd refuses the unit"
        fix = "add ExecStart=/path/to/the/daemon"
        if unit.lines("ExecStart"):
            text = "an empty ExecStart= took all commands away: systemd refuses the unit"
            fix = "name the command in another ExecStart= below it"
        yield Found("ExecStart", text, fix, Severity.ERROR)


def wrong_section(subject: Subject) -> Iterator[Found]:
    """A setting where systemd does not look for it."""
    for section, key in subject.unit.settings():
        right = _SECTION_OF.get(key, section)
        if right == section or (section, key) in _OLD_PLACES or section.startswith("X-"):
            continue
        for line in subject.unit.lines(key, section=section):
            yield Found(
                line, f"{key}= in [{section}] is ignored by systemd", f"move it to [{right}]"
            )


def bad_value(subject: Subject) -> Iterator[Found]:
    """A value that systemd ignores, so that an earlier one or the default holds."""
    unit = subject.unit
    for key in _SPANS:
        for line in unit.lines(key):
            if parse_span(line.value) is None:
                fix = "write for example 500ms, 2s, 1min 30s or infinity"
                yield _ignored(line, "no time span", fix)
    for key in _FLAGS:
        for line in unit.lines(key):
            if parse_boolean(line.value) is None:
                yield _ignored(line, "neither yes nor no", "write yes or no")
    for key, choices in _CHOICES.items():
        for line in unit.lines(key):
            if line.value not in choices.split():
                yield _ignored(line, "no such choice", f"choose one of {choices}")


def _ignored(line: Assignment, why: str, fix: str) -> Found:
    return Found(line, f"{line.key}={line.value} is {why}: systemd ignores it", fix)


RULES = (
    Rule("not-taken", About.ANY, not_taken),
    Rule("several-starts", About.ANY, several_starts),
    Rule("no-start", About.ANY, no_start),
    Rule("wrong-section", About.ANY, wrong_section),
    Rule("bad-value", About.ANY, bad_value),
)
