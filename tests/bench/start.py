"""How long a wrapper keeps its target from starting."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.rows import OURS, Row, above, missing
from tests.bench.running import Run
from tests.bench.wrappers import CONSOLE, Wrapper, by_name, console, ours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
STAMP = ("date", "+%s%N")  # says when it runs, half a millisecond after its exec
PASS = "python3 -I -c pass"
NOWHERE = "http://127.0.0.1:1/"  # the target is gone before anybody can probe it


def measure_start(rounds: int) -> list[Row]:
    """From the exec of the wrapper to that of the target: until `date` says the time, less what
    `date` alone takes to say it. Beside it an interpreter that does nothing, from exec to end."""
    everyone = [
        Wrapper(OURS, tuple(ours("--ready", "alive"))),
        Wrapper(CONSOLE, tuple(console("--ready", "alive"))),
        *by_name("tini", "dumb-init", "shell", "python"),
    ]
    here = [one for one in everyone if not one.lack]
    alone: list[float] = []
    passes: list[float] = []
    samples: dict[str, list[float]] = {one.name: [] for one in here}
    for turn in range(-1, rounds):  # the first compiles, and fills the page cache
        found = {one.name: _until_said(one.around([*STAMP], NOWHERE), one.env) for one in here}
        bare_ms, pass_ms = _until_said(STAMP, {}), _pass_ms()
        if turn >= 0:
            alone.append(bare_ms)
            passes.append(pass_ms)
            for name, ms in found.items():
                samples[name].append(ms)
    figure = "exec of the wrapper to exec of the target"
    ratio = f"{figure} / `{PASS}`"
    extra = {name: above(found, alone) for name, found in samples.items()}
    return [
        *(Row(GROUP, figure, name, "ms", found) for name, found in extra.items()),
        Row(GROUP, figure, f"({PASS}, exec to end)", "ms", tuple(passes)),
        *(missing(GROUP, figure, one.name, "ms", one.lack) for one in everyone if one.lack),
        *(
            Row(GROUP, ratio, name, "x",
                tuple(ms / base for ms, base in zip(found, passes, strict=True)),
                1.5 if name == OURS else None)
            for name, found in extra.items()
        ),
    ]  # fmt: skip


def _until_said(words: Sequence[str], env: Mapping[str, str]) -> float:
    with Run(words, watchdog_s=2.0, env=env) as run:
        # Two clocks: `date` has only this one, and a correction in between is one wild sample.
        began_ns = run.began_ns + time.time_ns() - time.monotonic_ns()
        return (int(run.word()) - began_ns) / 1e6


def _pass_ms() -> float:
    began_ns = time.monotonic_ns()
    subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
    return (time.monotonic_ns() - began_ns) / 1e6


MEASUREMENTS = (measure_start,)
