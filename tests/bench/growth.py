"""Does an attempt cost more on a crowded machine, or at a large target?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.rows import OURS, Row, no_figure
from tests.bench.running import LIMIT_S
from tests.bench.wrappers import ROOT

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
SOCKETS = (10, 1_000, 20_000)
TREES = (1, 50, 500)
FDS = (10, 10_000)
PROGRAM = Path(__file__).with_name("crowded.py")
PER_ROUND = 10  # attempts


def measure_sockets(rounds: int) -> list[Row]:
    """CPU of an attempt with so many TCP sockets open on the machine; the owner is known."""
    rows = []
    for number in SOCKETS:
        for name, found in _run("sockets", number, rounds).items():
            probe, _, way = name.partition(", ")
            figure = f"CPU of a {probe} attempt, {number:,} sockets open"
            rows.append(Row(GROUP, figure, f"{OURS}, {way}", "us", tuple(found)))
    return rows or [_refused("CPU of an attempt per sockets open")]


def measure_trees(rounds: int) -> list[Row]:
    """CPU of a `listen:` attempt, by the processes of the target: the last one listens."""
    return _by_size("tree", TREES, "a target of {:,} processes", rounds)


def measure_fds(rounds: int) -> list[Row]:
    """CPU of a `listen:` attempt, by the descriptors of the target: the last one listens."""
    return _by_size("fds", FDS, "a target with {:,} descriptors", rounds)


def _by_size(what: str, numbers: tuple[int, ...], size: str, rounds: int) -> list[Row]:
    rows = []
    for number in numbers:
        for name, found in _run(what, number, rounds).items():
            figure = f"CPU of a listen attempt, {size.format(number)}"
            rows.append(Row(GROUP, figure, f"{OURS}, {name} attempt", "us", tuple(found)))
    return rows or [_refused(f"CPU of a listen attempt, {what}")]


def _run(what: str, number: int, rounds: int) -> dict[str, list[float]]:
    """What crowded.py prints; nothing where it cannot run."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return {}
    words = [sys.executable, "-I", "-S", str(PROGRAM), str(ROOT), what, str(number)]
    done = subprocess.run(
        ["unshare", "-n", *words, str(rounds * PER_ROUND)],
        stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S,
    )  # fmt: skip
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def _refused(figure: str) -> Row:
    why = "a network of its own (unshare) needs root"
    return no_figure(GROUP, figure, OURS, "us", why)


MEASUREMENTS = (measure_sockets, measure_trees, measure_fds)
