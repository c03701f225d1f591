"""What systemd does not take, or takes otherwise than it was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.unitfile.directives import DIRECTIVES, NEWEST
from notifywrap.unitfile.findings import About, Found, Rule, Severity
from notifywrap.unitfile.specifiers import SpecifierError, resolve
from notifywrap.unitfile.syntax import Assignment, Outcome
from notifywrap.unitfile.values import parse_boolean, parse_span
from notifywrap.unitfile.words import Escapes, split_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.unitfile.findings import Subject
    from notifywrap.unitfile.unit import Unit

__all__ = ["RULES"]

# Lists whose words may be quoted; in others a quote is a character.
_LISTS = (
    "ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "ExecPaths", "NoExecPaths", "BindPaths",
    "BindReadOnlyPaths", "TemporaryFileSystem", "StateDirectory", "CacheDirectory", "LogsDirectory",
    "RuntimeDirectory", "ConfigurationDirectory", "PassEnvironment", "UnsetEnvironment",
    "Environment", "RestrictNetworkInterfaces",
)  # fmt: skip
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


def broken_list(subject: Subject) -> Iterator[Found]:
    """A quote without its partner: what is before it holds, and nothing else of the line."""
    for key in _LISTS:
        for line in subject.unit.lines(key):
            escapes = Escapes.STRICT if key == "Environment" else Escapes.KEPT
            words, error = split_words(line.value, escapes)
            if error:
                outcome = Outcome.PARTLY if words else Outcome.IGNORED
                fix = "close the quote, or take it out"
                if "without its partner" not in error:
                    fix = "write it so"
                yield Found(line, f"{line.key}=: {error}: {outcome.value}", fix)


def wrong_section(subject: Subject) -> Iterator[Found]:
    """A setting where systemd does not look for it."""
    for line in _not_known(subject):
        right = [section for section, keys in DIRECTIVES.items() if line.key in keys]
        if right:
            text = f"{line.key}= in [{line.section}] is ignored by systemd"
            yield Found(line, text, f"move it to [{right[0]}]")


def misspelled(subject: Subject) -> Iterator[Found]:
    """A setting that no systemd has: it says so in the journal, and goes on without."""
    for line in _not_known(subject):
        if any(line.key in keys for keys in DIRECTIVES.values()):
            continue
        from difflib import get_close_matches  # for the few who need it

        known = {key.lower(): key for key in DIRECTIVES[line.section]}
        near = [known[each] for each in get_close_matches(line.key.lower(), known, 1, 0.8)]
        text = f"{line.key}= is no setting of [{line.section}]: systemd ignores the line"
        fix = f"write X-{line.key}= if it is your own, or take it out"
        severity = Severity.WARNING
        if near:
            fix = f"did you mean {near[0]}=?"
        elif (subject.version or NEWEST + 1) > NEWEST:
            text = f"{line.key}= is no setting of [{line.section}] up to systemd {NEWEST}"
            severity = Severity.HINT
        yield Found(line, text, fix, severity)


def _not_known(subject: Subject) -> Iterator[Assignment]:
    """Lines whose section does not have their setting; what begins with X- is not systemd's."""
    unit = subject.unit
    for place, key in unit.settings():
        for line in unit.lines(key, section=place):
            known = DIRECTIVES.get(line.section)
            if known and line.key not in known and not line.key.startswith("X-"):
                yield line


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
    Rule("broken-list", About.ANY, broken_list),
    Rule("wrong-section", About.ANY, wrong_section),
    Rule("misspelled", About.ANY, misspelled),
    Rule("bad-value", About.ANY, bad_value),
)
