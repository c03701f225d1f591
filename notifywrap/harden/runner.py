"""Performs one round: units, start, exercise, observation, end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.harden.burst import connect_at_once
from notifywrap.harden.connections import (
    find_backends,
    find_peers,
    find_ports,
    read_table,
)
from notifywrap.harden.guarded import TOO_LONG, run_guarded, see_copies
from notifywrap.harden.learned import read_usage
from notifywrap.harden.model import Exercised, Observation
from notifywrap.harden.observe import (
    find_backlogs,
    find_child,
    find_code,
    find_denials,
    find_last_words,
    find_pids,
    find_warnings,
    has_named_socket,
    measure,
    read_log,
)
from notifywrap.harden.sweeper import UNITS, end_units
from notifywrap.harden.trial import compose, places_of, root_of
from notifywrap.harden.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from notifywrap.harden.copies import Copies
    from notifywrap.harden.model import Setting, Socket
    from notifywrap.harden.trial import Copy, Original

__all__ = ["Runner", "explain_status"]

SOAK_S = 0.6  # in which it has to stay well: the prototype found nothing more with longer ones
_STATES = ("Result", "ExecMainCode", "ExecMainStatus", "StatusText")
_CONTROL = ("ControlGroup", "ActiveState", "MainPID")
# systemd.exec(5), PROCESS EXIT CODES
_MEANINGS = {
    200: "200/CHDIR: its working directory is not there",
    203: "203/EXEC: its program cannot be executed",
    216: "216/GROUP: its group is not there",
    217: "217/USER: its user is not there",
    218: "218/CAPABILITIES: it may not have these",
    226: "226/NAMESPACE: a path cannot be mounted",
    228: "228/SECCOMP: the filter cannot be set",
    238: "238/STATE_DIRECTORY: cannot be made",
    243: "243/CREDENTIALS: cannot be loaded",
}

# systemd.service(5), $SERVICE_RESULT
_RESULTS = {
    "success": "it has ended by itself",
    "protocol": "it has ended, or gone into the background, before it was ready",
    "timeout": "it was not ready in time",
    "watchdog": "its watchdog fired",
}


class Round(NamedTuple):
    """What all rounds have in common.

    exercises  commands for sh
    """

    exercises: tuple[str, ...]
    exercise_timeout_s: float
    copies: tuple[Copy, ...]


class Runner:
    """Runs the service under another name, with more settings each time.

    tag  the name
    """

    def __init__(self, original: Original, tag: str, common: Round, copies: Copies) -> None:
        self._original, self._tag = original, tag
        self._common, self._copies = common, copies
        self._pids = (0, 0)  # of the last round: the main process, and the target
        self._has_unix = self._has_children = False

    def run(
        self,
        settings: Sequence[Setting] = (),
        sockets: Sequence[Socket] = (),
        *,
        start_limit_s: float = 60.0,
        is_graceful: bool = False,
    ) -> Observation:
        """One round from fresh copies to the end; whatever happens, nothing runs after it.

        is_graceful  it has to stop as systemd asks it to
        """
        self._copies.renew()
        unit = f"{self._tag}.service"
        texts = compose(
            self._original, self._tag, settings, sockets, self._common.copies, start_limit_s
        )
        os.makedirs(root_of(self._tag), exist_ok=True)  # the sweeper removes it
        try:
            for name, text in texts.items():
                with open(f"{UNITS}/{name}", "w", encoding="utf-8") as file:
                    file.write(text)
            _systemctl("daemon-reload")
            return self._observe(unit, is_graceful=is_graceful)
        finally:
            end_units(self._tag)

    def watch(self, start_limit_s: float, *, is_graceful: bool = False) -> Observation:
        """One round of the service as it is, in which is seen what it uses."""
        with Watch(f"{self._tag}.service") as watch:
            seen = self.run(start_limit_s=start_limit_s, is_graceful=is_graceful)
            processes = watch.processes()
        own = [path for each in self._common.copies for path in places_of(each)]
        usage = read_usage(processes, *self._pids, own)._replace(has_unix=self._has_unix)
        if not processes:  # the kernel does not tell: what it has mapped is known all the same
            usage = usage._replace(own=seen.code, forks=self._has_children)
        return seen._replace(usage=usage)

    def _observe(self, unit: str, *, is_graceful: bool) -> Observation:
        table, since = read_table(), time.time()
        began = time.monotonic()
        started = _systemctl("start", unit)
        ready_s = time.monotonic() - began
        if started.returncode != 0:
            return _failed(unit, since, "it does not start", ready_s)
        time.sleep(SOAK_S)  # not for an event: for the absence of one
        exercised = tuple(self._exercise(each) for each in self._common.exercises)
        state = _show(unit, *_CONTROL)
        if state["ActiveState"] != "active":
            return _failed(unit, since, "it does not stay up", ready_s)
        pids = find_pids(state["ControlGroup"])
        self._look_at(int(state["MainPID"]), pids)
        threads, rss_bytes = measure(pids)
        backlogs = find_backlogs(pids)
        ports, tried = _ports(backlogs), read_table()
        burst_s, lost = connect_at_once(ports)
        code = find_code(pids)
        warnings = find_warnings(read_log(unit, since))
        if is_graceful:
            _systemctl("stop", unit)
            if _show(unit, *_STATES)["Result"] != "success":
                return _failed(unit, since, "it does not stop as it should", ready_s)
        return Observation(
            denied=find_denials(read_log(unit, since)),
            ready_s=ready_s,
            backlogs=backlogs,
            warnings=warnings,
            threads=threads,
            rss_bytes=rss_bytes,
            burst_s=burst_s,
            burst_lost=lost,
            exercised=exercised,
            code=code,
            connects=find_ports(table, tried, ports),
            peers=find_peers(table, tried, ports),
            backends=find_backends(table, tried, ports),
        )

    def _look_at(self, main: int, pids: Sequence[int]) -> None:
        is_wrapped = self._original.subject.is_ours or not self._original.is_notify
        target = find_child(main) if is_wrapped else main
        others = [pid for pid in pids if pid not in (main, target)]
        self._pids = (main, target)
        self._has_unix = has_named_socket([target, *others])
        self._has_children = bool(others)

    def _exercise(self, command: str) -> Exercised:
        began = time.monotonic()
        limit_s = self._common.exercise_timeout_s
        status, out = run_guarded(
            see_copies(command, self._common.copies), self._tag, limit_s=limit_s
        )
        lines = out.strip().splitlines()
        if status == TOO_LONG:
            lines.append(f"it took more than {limit_s:g} s (see --exercise-timeout)")
        return Exercised(command, status, time.monotonic() - began, lines[-1] if lines else "")


def explain_status(state: dict[str, str]) -> str:
    """How a unit failed, in words of systemd.exec(5): by its Result, ExecMainCode and -Status."""
    status = int(state.get("ExecMainStatus") or 0)
    result = state.get("Result", "unknown")
    if result in ("signal", "core-dump"):
        name = signal.Signals(status).name if status in set(signal.Signals) else str(status)
        return f"killed by {name}" + (" (the system call filter)" if name == "SIGSYS" else "")
    if result == "exit-code":
        return _MEANINGS.get(status, f"exit status {status}")
    return _RESULTS.get(result, f"result {result}")


def _failed(unit: str, since: float, what: str, ready_s: float) -> Observation:
    state = _show(unit, *_STATES)
    lines = read_log(unit, since)
    said = find_last_words(lines)
    # After a time-out STATUS is about its end, and not about what was missing.
    told = [repr(state["StatusText"])] if state["StatusText"] and "ready: " not in said else []
    if said and said not in state["StatusText"]:
        told.append(f"its log says: {said}")
    error = ", ".join([f"{what}: {explain_status(state)}", *told])
    return Observation(error=error, denied=find_denials(lines), ready_s=ready_s)


def _ports(backlogs: Sequence[tuple[str, int]]) -> list[int]:
    return sorted({int(address.rpartition(":")[2]) for address, _ in backlogs})


def _show(unit: str, *properties: str) -> dict[str, str]:
    done = _systemctl("show", f"--property={','.join(properties)}", unit)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def _systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemctl", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
