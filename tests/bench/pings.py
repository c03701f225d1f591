"""How punctual the pings are: the gaps between them in W. One of 1 and more is a restart."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import proc
from tests.bench.rows import OURS, Row, missing
from tests.bench.running import Run, free_port, served
from tests.bench.spending import Watched, watch
from tests.bench.wrappers import by_name, ours

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
# W: pings that are waited for, 4 to a W. Few at 30 s, where little can go wrong.
WATCHDOGS_S = {0.1: 1200, 1.0: 120, 30.0: 4}
COPIES = {0.1: 1, 1.0: 4, 30.0: 4}
MOST = {1.0: 1.0, 30.0: 1.0}  # at 0.1 s a machine with twice the work it can do is late at times
BURN = "while True: pass"


def measure_pings(rounds: int) -> list[Row]:
    """http probe: with the machine as it is, and with every core busy twice over."""
    rows = []
    for condition, burners in (("idle", 0), ("every core busy twice over", 2 * _cores())):
        gaps: dict[tuple[float, str], list[float]] = {}
        for _ in range(max(1, rounds // 20)):
            with _busy(burners):
                _gather(gaps)
        for (watchdog_s, who), found in gaps.items():
            figure = f"gap between pings, W = {watchdog_s:g} s, {condition}"
            most = MOST.get(watchdog_s) if who == OURS else None
            rows.append(Row(GROUP, figure, who, "W", tuple(found), most=most))
        rows += [
            missing(GROUP, f"gap between pings, W = 1 s, {condition}", one.name, "W", one.lack)
            for one in by_name("shell", "python")
            if one.lack
        ]
    return rows


def _gather(gaps: dict[tuple[float, str], list[float]]) -> None:
    """Everybody at a time, for as long as the slowest takes."""
    with ExitStack() as stack:
        everyone, lengths = [], []
        for watchdog_s, count in WATCHDOGS_S.items():
            for _ in range(COPIES[watchdog_s]):
                port = free_port()
                words = [*ours("--probe", f"http://127.0.0.1:{port}/"), *served(port)]
                run = stack.enter_context(Run(words, watchdog_s=watchdog_s))
                everyone.append(Watched(OURS, run, skip=1, count=count))
                lengths.append(watchdog_s)
        for one in by_name("shell", "python"):
            if not one.lack:
                port = free_port()
                words = one.around(served(port), f"http://127.0.0.1:{port}/", 1.0)
                run = stack.enter_context(Run(words, watchdog_s=1.0, env=one.env))
                everyone.append(Watched(one.name, run, skip=1, count=WATCHDOGS_S[1.0] // 2))
                lengths.append(1.0)
        for one, watchdog_s, spent in zip(everyone, lengths, watch(everyone), strict=True):
            gaps.setdefault((watchdog_s, one.name), []).extend(
                (after - before) / watchdog_s for before, after in pairwise(spent.pings)
            )


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that never sleep."""
    burners = [subprocess.Popen([sys.executable, "-I", "-S", "-c", BURN]) for _ in range(count)]
    try:
        yield
    finally:
        proc.end(*(burner.pid for burner in burners))
        for burner in burners:
            burner.wait()


def _cores() -> int:
    return len(os.sched_getaffinity(0))


MEASUREMENTS = (measure_pings,)
