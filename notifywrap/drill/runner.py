"""Runs the program with the attempts, under systemd or right here, and hands on its report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.drill.attempt import Finding
from notifywrap.drill.throwaway import LIMIT_S
from notifywrap.errors import NotifywrapError

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.drill.cleaner import Cleaner

__all__ = ["Report", "run_here", "run_unit"]

# systemd.exec(5), PROCESS EXIT CODES
_MEANINGS = {
    200: "200/CHDIR: WorkingDirectory= does not exist",
    203: "203/EXEC: this Python cannot be executed in there; run the drill with one that can:"
    " /its/python3 -m notifywrap drill ...",
    217: "217/USER: the user does not exist",
    226: "226/NAMESPACE: a path in the unit does not exist, or cannot be mounted",
    243: "243/CREDENTIALS: what LoadCredential= names does not exist",
}


class Report(NamedTuple):
    """What came back.

    uid      of the attempts
    remarks  what the jail said
    """

    findings: tuple[Finding, ...]
    uid: int
    remarks: tuple[str, ...]


def run_unit(tag: str, home: str, unit: str, program: str, cleaner: Cleaner) -> Report:
    """Under the running systemd, as a unit of the name *tag* with the text *unit*.

    Raises NotifywrapError when it does not start, or does not get to its end.
    """
    _write(f"{home}/program", program)
    cleaner.stops(f"{tag}.service")
    # systemd reads a unit that it does not know without being told to reload all others.
    _write(f"/run/systemd/system/{tag}.service", unit, mode=0o644)
    done = _systemctl("start", f"{tag}.service")
    if done.returncode != 0 and not _read(f"{home}/report"):
        raise NotifywrapError(f"the attempts could not be started: {_explain(tag, home, done)}")
    return _understand(_read(f"{home}/report"), lambda: _explain(tag, home, done))


def run_here(python: str, program: str, cleaner: Cleaner) -> Report:
    """In the environment of this process, as a child of it."""
    with subprocess.Popen(
        [python, "-I", "-S", "-B", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        cleaner.kills(process.pid)
        try:
            out, errors = process.communicate(program, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise NotifywrapError(f"the attempts took more than {LIMIT_S} s") from None
        cleaner.kills(0)
    said = errors.strip().rpartition("\n")[2]
    return _understand(out, lambda: said or f"it ended with {process.returncode}")


def _understand(report: str, explain: Callable[[], str]) -> Report:
    findings, remarks, uid, is_whole = [], [], -1, False
    for line in report.splitlines():
        said = json.loads(line)
        if "error" in said:
            raise NotifywrapError(f"drill: {said['error']}")
        if "name" in said:
            findings.append(Finding(**said))
        elif "remark" in said:
            remarks.append(said["remark"])
        uid = said.get("uid", uid)
        is_whole = is_whole or "end" in said
    if not is_whole:
        raise NotifywrapError(f"the attempts ended after {len(findings)} of them: {explain()}")
    return Report(tuple(findings), uid, tuple(remarks))


def _explain(tag: str, home: str, done: subprocess.CompletedProcess[str]) -> str:
    """Why the unit failed, in a line."""
    errors = _read(f"{home}/errors").strip().rpartition("\n")[2]
    if errors:
        return errors
    shown = _systemctl(
        "show", "-p", "Result,ExecMainCode,ExecMainStatus,LoadError", f"{tag}.service"
    )
    state = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    status = int(state.get("ExecMainStatus") or 0)
    if state.get("Result") == "signal":
        name = signal.Signals(status).name
        why = " (SystemCallFilter= does not let Python start)" if name == "SIGSYS" else ""
        return f"Python was killed by {name}{why}"
    if state.get("Result") == "exit-code" and status >= 200:
        meaning = _MEANINGS.get(status, f"status {status}, see systemd.exec(5)")
        return f"systemd could not set up its sandbox ({meaning})"
    return done.stdout.strip().partition("\n")[0] or f"result {state.get('Result', 'unknown')}"


def _systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemctl", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _write(path: str, text: str, mode: int = 0o600) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
