"""Credentials of systemd: who loads them, and which commands of the unit can have them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from notifywrap.errors import SpecError
from notifywrap.policy.credential import parse_credentials
from notifywrap.unitfile.findings import About, Found, Rule, Severity
from notifywrap.unitfile.sandbox import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.unitfile.execline import Command
    from notifywrap.unitfile.findings import Subject
    from notifywrap.unitfile.syntax import Assignment

__all__ = ["RULES"]

# Tried: systemd 252 and 254 set $CREDENTIALS_DIRECTORY for them, but in a sandbox (any mount
# namespace) reading is denied; 257 and 262 do not set it. ExecStartPre= has it in all of them.
_WITHOUT = ("ExecReload", "ExecStop", "ExecStopPost")
_AFTER_START = "ExecStartPost"
_HAS_AFTER_START_SINCE = 257
_OTHERS = ("ExecCondition", "ExecStartPre", _AFTER_START, *_WITHOUT)
_ASKS = re.compile(r"CREDENTIALS_DIRECTORY|(?<!%)(?:%%)*%d\b|/run/credentials/")
_OPTIONS = ("--credential", "--http-header-credential")


def credential_missing(subject: Subject) -> Iterator[Found]:
    """A credential that nobody loads."""
    names = [text.partition(":")[0] for text in subject.values.get("--credential", ())]
    headers = subject.values.get("--http-header-credential", ())
    names += [text.rpartition(":")[2] for text in headers]
    loaded = [
        line.value.partition(":")[0]
        for key in CREDENTIALS
        for line in subject.unit.lines(key)
        if line.value
    ]
    if subject.unit.lines("ImportCredential"):
        return  # patterns, of what the machine was given
    for name in names:
        if subject.run and name not in loaded:
            text = f"no credential {name!r} is loaded: notifywrap refuses to start"
            fix = f"add LoadCredential={name}:/path/to/it"
            yield Found(subject.run.line, text, fix, Severity.ERROR)


def credential_too_late(subject: Subject) -> Iterator[Found]:
    """A command that asks for a credential when systemd gives it none."""
    keys = list(_WITHOUT)
    if subject.version is not None and subject.version < _HAS_AFTER_START_SINCE:
        keys.append(_AFTER_START)
    for key in keys:
        for command, line in subject.unit.commands(key):
            if _ASKS.search(line.value) or _is_given_one(command):
                text = (
                    f"{key}= cannot read the service's credentials (with systemd before 257: not in"
                    " a sandbox)"
                )
                fix = "leave it to the main process, which can read them"
                if key == "ExecReload" and subject.is_ours:
                    fix = "have notifywrap run it, which can read them: --reload exec:COMMAND"
                yield Found(line, text, fix)


def _is_given_one(command: Command) -> bool:
    """Is it notifywrap with an option that wants a credential?"""
    words = [os.path.basename(word) for word in command.argv[:3]]
    return "notifywrap" in words and any(
        word.partition("=")[0] in _OPTIONS for word in command.argv
    )


def credential_variable(subject: Subject) -> Iterator[Found]:
    """The variable of --credential is in nobody's environment but the target's."""
    try:
        asked = parse_credentials(subject.values.get("--credential", ()), "--credential")
    except SpecError:
        return  # said by own-options
    for credential in asked:
        name = credential.variable
        if name in subject.env:
            continue
        for key in _OTHERS:
            for line in _lines_with(subject, key, name):
                where = f"${{CREDENTIALS_DIRECTORY}}/{credential.name}"
                yield Found(
                    line,
                    f"--credential puts {name} into the target's environment alone: in {key}= it"
                    " is empty",
                    f"read the file {where} there" if key not in _WITHOUT else "leave it out there",
                )


def _lines_with(subject: Subject, key: str, variable: str) -> Iterator[Assignment]:
    """The lines of *key* that mention a variable, for systemd ($x) or for a shell ($$x)."""
    used = re.compile(rf"\$\{{?{variable}(?!\w)")
    for _, line in subject.unit.commands(key):
        if used.search(line.value):
            yield line


RULES = (
    Rule("credential-missing", About.OURS, credential_missing),
    Rule("credential-too-late", About.ANY, credential_too_late, is_advice=True),
    Rule("credential-variable", About.OURS, credential_variable),
)
