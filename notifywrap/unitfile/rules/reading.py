"""What systemd does not take, or takes otherwise than it was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.unitfile.findings import About, Found, Rule, Severity
from notifywrap.unitfile.specifiers import SpecifierError, resolve
from notifywrap.unitfile.syntax import Assignment, Outcome
from notifywrap.unitfile.values import parse_boolean, parse_span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.unitfile.findings import Subject
    from notifywrap.unitfile.unit import Unit

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
    for _, found in mistakes(unit):
        yield found
    for key in ("User", "Group"):
        for each in unit.lines(key):
            try:
                resolve(each.value, unit.name)
            except SpecifierError as error:
                text = f"{key}=: {error}: systemd refuses the unit"
                yield Found(each, text, f"write {key}=NAME", Severity.ERROR)


def mistakes(unit: Unit) -> Iterator[tuple[Assignment, Found]]:
    """What systemd does not accept in a unit of any kind, each with its place."""
    for problem in (*unit.problems, *unit.exec_problems()):
        line = Assignment("", "", "", problem.path, problem.line)
        is_fatal = problem.outcome is Outcome.REFUSED
        severity = Severity.ERROR if is_fatal else Severity.WARNING
        text = f"{problem.text}: {problem.outcome.value}"
        yield line, Found(line, text, problem.fix, severity)


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
    Rule("wrong-section", About.ANY, wrong_section),
    Rule("bad-value", About.ANY, bad_value),
)
