"""What a wrapper holds when its target is ready: alone, in numbers, and per option in use."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import proc
from tests.bench.kinds import kinds
from tests.bench.rows import OURS, Row, missing
from tests.bench.running import Run, free_port, served, until_served
from tests.bench.supervisors import NAMES, Supervisor
from tests.bench.wrappers import BARE, CONSOLE, by_name, console, ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
SORTS = ("RSS", "PSS", "USS")
COUNTS = (1, 50, 200)
MUST = 1.35
SETTLED = 4  # pings: what is loaded for the first live rounds is there
MOST_ROUNDS = 3  # it hardly varies


def measure_alone(rounds: int) -> list[Row]:
    """One wrapper, http probe, beside the others around the same target, and an interpreter."""
    samples: dict[str, list[dict[str, float]]] = {}
    lacks: dict[str, str] = {}
    for _ in range(min(rounds, MOST_ROUNDS)):
        for name, found in _once(lacks):
            samples.setdefault(name, []).append(found)
    rows = []
    for sort in SORTS:
        figure = f"memory when ready, http, {sort}"
        rows += [
            Row(GROUP, figure, name, "MB", tuple(one[sort] for one in found))
            for name, found in samples.items()
        ]
        rows += [missing(GROUP, figure, name, "MB", why) for name, why in lacks.items()]
    return rows


def _once(lacks: dict[str, str]) -> Iterable[tuple[str, dict[str, float]]]:
    yield BARE, _bare_mb()
    for name, way in ((OURS, ours), (CONSOLE, console)):
        yield name, _ready_mb(way, "http://127.0.0.1:{}/")
    for one in (*by_name("tini", "dumb-init", "shell", "python"), *map(Supervisor, NAMES)):
        if one.lack:
            lacks[one.name] = one.lack
            continue
        port = free_port()
        target = served(port)
        words = (
            one.around(target)
            if isinstance(one, Supervisor)
            else one.around(target, f"http://127.0.0.1:{port}/", 1.0)
        )
        with Run(words, watchdog_s=1.0, env=one.env) as run:
            until_served(run, port)
            if "sdnotify" in one.name or "systemd-notify" in one.name:
                run.inbox.wait(b"WATCHDOG=1", 2)
            yield one.name, _sum(run.pid)


def measure_ratio(rounds: int) -> list[Row]:
    """Resident when ready, beside a bare interpreter in the same round."""
    rows = []
    for probe in ("listen:{}", "tcp:{}", "http://127.0.0.1:{}/"):
        samples = [
            _ready_mb(ours, probe)["RSS"] / _bare_mb()["RSS"]
            for _ in range(min(rounds, MOST_ROUNDS))
        ]
        figure = f"RSS when ready / {BARE}, {probe.partition(':')[0]}"
        rows.append(Row(GROUP, figure, OURS, "x", tuple(samples), MUST))
    return rows


def measure_options(rounds: int) -> list[Row]:
    """What the options in use add: the whole wrapper, in MB."""
    rows = []
    for kind in kinds():
        if kind.lack:
            rows += [missing(GROUP, "with", kind.name, "MB", kind.lack)]
            continue
        found = []
        for _ in range(min(rounds, MOST_ROUNDS)):
            with kind.begin(period_s=0.1) as run:
                run.inbox.wait(b"WATCHDOG=1", SETTLED)
                found.append(_own(run, kind.is_sidecar))
        rows += [
            Row(GROUP, f"per option in use, {sort}", kind.name, "MB",
                tuple(one[sort] for one in found))
            for sort in SORTS
        ]  # fmt: skip
    return rows


def measure_many(rounds: int) -> list[Row]:
    """Per wrapper, with many of them at once: pages that all share count once in PSS. One round:
    200 wrappers are 200 samples."""
    rows = []
    for count in COUNTS:
        with ExitStack() as stack:
            runs = []
            for _ in range(count):
                port = free_port()
                words = [*ours("--probe", f"http://127.0.0.1:{port}/"), *served(port)]
                runs.append(stack.enter_context(Run(words, watchdog_s=20.0)))
                if len(runs) % 10 == 0:
                    runs[-1].inbox.wait(b"READY=1")  # not all at a time: this is about memory
            for run in runs:
                run.inbox.wait(b"WATCHDOG=1", 1 if run in runs[9::10] else 2)
            found = [proc.memory_mb(run.pid) for run in runs]
        rows += [
            Row(GROUP, f"memory of each of many, {sort}", f"{count} at once", "MB",
                tuple(one[sort] for one in found))
            for sort in SORTS
        ]  # fmt: skip
    return rows


def _ready_mb(way: Callable[..., list[str]], probe: str) -> dict[str, float]:
    port = free_port()
    words = [*way("--probe", probe.format(port)), *served(port)]
    with Run(words, watchdog_s=1.0) as run:
        run.inbox.wait(b"WATCHDOG=1", SETTLED)
        return proc.memory_mb(run.pid)


def _own(run: Run, is_sidecar: bool) -> dict[str, float]:
    """Of the wrapper's process; as a sidecar it is not the one that was started."""
    if not is_sidecar:
        return proc.memory_mb(run.pid)
    sidecars = [one for one in proc.orphans() if one != run.pid and not proc.is_zombie(one)]
    return proc.memory_mb(sidecars[0])


def _sum(pid: int) -> dict[str, float]:
    """Of all but the target."""
    total = dict.fromkeys(SORTS, 0.0)
    for one in proc.tree(pid):
        if not proc.runs_script(one, "target.py"):
            try:
                found = proc.memory_mb(one)
            except (FileNotFoundError, ProcessLookupError):
                continue  # a curl of the shell loop has ended
            total = {sort: total[sort] + found[sort] for sort in SORTS}
    return total


def _bare_mb() -> dict[str, float]:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "print(1, flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as bare:  # fmt: skip
        assert bare.stdout is not None
        bare.stdout.readline()
        found = proc.memory_mb(bare.pid)
        bare.communicate(b"\n")
    return found


MEASUREMENTS = (measure_alone, measure_ratio, measure_options, measure_many)
