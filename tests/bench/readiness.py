"""How soon after the target serves READY=1 is heard, and what waiting for it costs."""

from __future__ import annotations

import random
import select
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench import proc, s6
from tests.bench.rows import OURS, Row, missing
from tests.bench.running import LIMIT_S, Run, free_port, served, stay_up
from tests.bench.wrappers import by_name, ours

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
STARTS_S = (0.05, 0.5, 2.0, 10.0)
SETTLED_S = 0.5  # after its own start: from here on it only waits
COPIES = 3  # of ours in a long start, where there is room for them
APART_S = 0.15  # between the starts of a round, so that their ends do not meet
KINDS = {  # the probe, and whether the target answers 503 before it is well
    "listen": ("listen:{}", False),
    "tcp": ("tcp:{}", False),
    "http": ("http://127.0.0.1:{}/", False),
    "http, 503 until then": ("http://127.0.0.1:{}/", True),
}
MUST = {"listen": (6.0, 15.0), "tcp": (6.0, 15.0)}  # median, worst
MUST_HTTP = (None, 40.0)


class Waiter(NamedTuple):
    """Somebody who waits for a target: begin() starts one with this target and port."""

    kind: str
    name: str
    begin: Callable[[list[str], int], s6.Service | Run]
    lack: str = ""
    copy: int = 0


class Found(NamedTuple):
    """late_ms  from the target's moment to READY=1; cpu  of a core, in %, None when too short"""

    late_ms: float
    cpu: float | None


def waiters() -> list[list[Waiter]]:
    """Those that run at a time: ours, and then the others, whose loops take much of a core."""
    here = [
        Waiter(kind, OURS, lambda target, port, probe=probe: Run(
            [*ours("--ready", probe.format(port)), *target]))
        for kind, (probe, _) in KINDS.items()
    ]  # fmt: skip
    loops = [
        Waiter("http", one.name, lambda target, port, one=one: Run(
            one.around(target, f"http://127.0.0.1:{port}/"), env=one.env), one.lack)
        for one in by_name("shell", "python")
    ]  # fmt: skip
    checks = [
        Waiter("http", f"s6-notifyoncheck, curl every {ms} ms", lambda target, port, ms=ms:
               s6.Service(target, f"http://127.0.0.1:{port}/", ms), s6.lack())
        for ms in s6.PAUSES_MS
    ]  # fmt: skip
    return [here, loops + checks]


def measure_readiness(rounds: int) -> list[Row]:
    """From the moment at which the target listens (http: at which it answers well) to READY=1. A
    start of 2 s takes 2 to 3 s."""
    rows = []
    for start_s in STARTS_S:
        turns = max(1, round(rounds * min(1.0, 0.5 / start_s)))
        groups = waiters()
        found: dict[Waiter, list[Found]] = {one: [] for group in groups for one in group}
        for turn in range(-1 if start_s < 1 else 0, turns):  # the first fills the page cache
            for group in groups:
                for one, what in _race([w for w in group if not w.lack], start_s).items():
                    if turn >= 0:
                        found[one._replace(copy=0)].append(what)
        rows += _rows(start_s, found)
    return rows


def _rows(start_s: float, found: dict[Waiter, list[Found]]) -> list[Row]:
    rows = []
    for one, several in found.items():
        figure = f"target serves to READY=1, {one.kind}, start of {start_s:g} s"
        waiting = f"CPU while waiting, {one.kind}, start of {start_s:g} s"
        if one.lack:
            rows.append(missing(GROUP, figure, one.name, "ms", one.lack))
            continue
        must, most = MUST.get(one.kind, MUST_HTTP) if one.name == OURS else (None, None)
        late = tuple(each.late_ms for each in several)
        rows.append(Row(GROUP, figure, one.name, "ms", late, must, most=most))
        cpu = tuple(each.cpu for each in several if each.cpu is not None)
        if cpu:
            must = 2.0 if one.name == OURS else None
            rows.append(Row(GROUP, waiting, one.name, "% of a core", cpu, must))
    return sorted(rows, key=lambda row: row.unit != "ms")


def _race(waiting: Sequence[Waiter], start_s: float) -> dict[Waiter, Found]:
    """All of them at a time, each with a target of its own."""
    if start_s >= 1:
        waiting = [
            one._replace(copy=copy)
            for copy in range(COPIES)
            for one in waiting
            if copy == 0 or one.name == OURS
        ]
    runs: dict[Waiter, s6.Service | Run] = {}
    settled: dict[Waiter, tuple[int, float]] = {}
    found: dict[Waiter, Found] = {}
    try:
        for one in waiting:
            port = free_port()
            # A random part more, or a loop of 100 ms always meets a start of 2 s at the same point
            longer_s = random.uniform(start_s, min(start_s * 1.5, start_s + 1.0))
            target = served(port, longer_s, unwell=KINDS[one.kind][1])
            runs[one] = one.begin(target, port)
            if start_s >= 1:
                stay_up(runs[one].pid, APART_S)
            else:  # such a short start leaves no room for two
                found[one] = _until_ready(runs, settled, {one})[one]
                runs.pop(one).__exit__()
        return found | _until_ready(runs, settled, set(runs))
    finally:
        for run in runs.values():
            run.__exit__()


def _until_ready(
    runs: dict[Waiter, s6.Service | Run], settled: dict[Waiter, tuple[int, float]],
    open_: set[Waiter],
) -> dict[Waiter, Found]:  # fmt: skip
    found: dict[Waiter, Found] = {}
    poll = select.poll()
    waits = {runs[one].inbox.fileno(): one for one in open_}
    for fd in waits:
        poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + LIMIT_S
    while waits:
        for fd, _ in poll.poll(20):
            one = waits[fd]
            came, datagram = runs[one].inbox.next()
            if b"READY=1" in datagram:
                poll.unregister(fd)
                del waits[fd]
                found[one] = _found(runs[one], came, settled.get(one))
        for one in waits.values():
            if one not in settled and time.monotonic_ns() > runs[one].began_ns + SETTLED_S * 1e9:
                settled[one] = time.monotonic_ns(), _cpu_s(runs[one])
        assert time.monotonic() < deadline, f"never ready: {[one.name for one in waits.values()]}"
    return found


def _found(run: s6.Service | Run, came: int, settled: tuple[int, float] | None) -> Found:
    cpu = None
    if settled is not None and came - settled[0] >= 1e9:
        cpu = (_cpu_s(run) - settled[1]) / (came - settled[0]) * 1e11
    return Found((came - int(run.word())) / 1e6, cpu)


def _cpu_s(run: s6.Service | Run) -> float:
    """Of all but the target and what it has started."""
    members = proc.tree(run.pid)
    return sum(
        proc.cpu_s(pid, with_reaped=True)
        for pid in members
        if not proc.runs_script(pid, "target.py")
    )


MEASUREMENTS = (measure_readiness,)
