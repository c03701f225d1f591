"""How soon a signal reaches the target, and how soon the wrapper ends once the target has."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from tests.bench.rows import OURS, Row, missing
from tests.bench.running import Run, free_port, stay_up, target_of
from tests.bench.wrappers import Wrapper, by_name, ours

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
DIRECT = "(no wrapper)"
# Says when it has got SIGTERM, and goes on.
TARGET = """
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("ready", flush=True)
while True:
    signal.sigwait([signal.SIGTERM])
    print(time.monotonic_ns(), flush=True)
"""


def measure_ending(rounds: int) -> list[Row]:
    """SIGTERM to the wrapper until the target has it; SIGKILL to the target, a `sleep`, until the
    wrapper has ended: what the kernel needs to end the target is in it, as in "(no wrapper)"."""
    everyone = [
        Wrapper(DIRECT, ()),
        Wrapper(OURS, tuple(ours("--probe", "alive"))),
        *by_name("tini", "dumb-init", "shell", "python"),
    ]
    here = [one for one in everyone if not one.lack]
    passed: dict[str, list[float]] = {one.name: [] for one in here}
    died: dict[str, list[float]] = {one.name: [] for one in here}
    for turn in range(-1, rounds):
        for one in here:
            found = _signal_ms(one), _death_ms(one)
            if turn >= 0:
                passed[one.name].append(found[0])
                died[one.name].append(found[1])
    rows = []
    for figure, samples, must in (
        ("signal in to signal out", passed, 1.0),
        ("target dies to wrapper has exited", died, 2.0),
    ):
        rows += [
            Row(GROUP, figure, name, "ms", tuple(found), must if name == OURS else None)
            for name, found in samples.items()
        ]
        rows += [missing(GROUP, figure, one.name, "ms", one.lack) for one in everyone if one.lack]
    return rows


def _begin(one: Wrapper, target: list[str]) -> Run:
    url = f"http://127.0.0.1:{free_port()}/"
    return Run(one.around(target, url), watchdog_s=2.0, env=one.env)


def _settle(run: Run, one: Wrapper) -> None:
    if one.name == OURS:
        run.inbox.wait(b"READY=1")
    stay_up(run.pid, 0.03)  # what comes with the start is over, for all of them


def _signal_ms(one: Wrapper) -> float:
    with _begin(one, [sys.executable, "-I", "-S", "-c", TARGET]) as run:
        run.word()
        _settle(run, one)
        sent_ns = time.monotonic_ns()
        os.kill(run.pid, signal.SIGTERM)
        return (int(run.word()) - sent_ns) / 1e6


def _death_ms(one: Wrapper) -> float:
    with _begin(one, ["sleep", "1000"]) as run:
        target = run.pid if one.name == DIRECT else target_of(run.pid, "sleep")
        _settle(run, one)
        sent_ns = time.monotonic_ns()
        os.kill(target, signal.SIGKILL)
        return (run.wait() - sent_ns) / 1e6


MEASUREMENTS = (measure_ending,)
