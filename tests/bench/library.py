"""The library beside the others that Python daemons use: import, memory, first READY=1, a ping."""

from __future__ import annotations

from pathlib import Path

from tests.bench.fresh import Fresh, Listener
from tests.bench.peers import BARE, CANDIDATES, Candidate
from tests.bench.rows import OURS, Row, above, missing

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
PINGS = 500

_IMPORT = """
import time
began = time.perf_counter_ns()
{load}
print(time.perf_counter_ns() - began)
"""
_READY = """
import time
began = time.perf_counter_ns()
{load}
{first}
print(time.perf_counter_ns() - began)
"""
# CPU of this process alone, and of the ping alone: what is measured does not wait for the reader.
_PING = """
import resource, time
{load}
{first}
def ping():
    {ping}
def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
used = idle = 0.0
for _ in range({pings}):
    before = cpu_s()
    ping()
    after = cpu_s()
    used += after - before
    idle += cpu_s() - after
    time.sleep(0.0002)  # the queue holds ten, and a full one is another measurement
print((used - idle) / {pings} * 1e6)
"""


def measure_import(rounds: int) -> list[Row]:
    """From before `import` to after it, in a process that has loaded nothing but `sys`, `time`."""
    return _in_turns("import", "ms", _IMPORT, 1e-6, rounds, must=1.0)


def measure_first_ready(rounds: int) -> list[Row]:
    """From before `import` until READY=1 has been sent."""
    return _in_turns("import and first ready()", "ms", _READY, 1e-6, rounds, must=12.0)


def measure_ping(rounds: int) -> list[Row]:
    """CPU time, user and system, of one WATCHDOG=1."""
    return _in_turns("CPU of a ping", "us", _PING, 1.0, rounds, must=20.0)


def measure_memory(rounds: int) -> list[Row]:
    """What the process has more than a bare interpreter: after the import, and after READY=1."""
    rows = []
    for figure, program, must in (
        ("memory of the import above a bare interpreter", "{load}\nprint(1)", 0.3),
        ("memory after ready() above a bare interpreter", "{load}\n{first}\nprint(1)", None),
    ):
        here, absent = _present()
        kinds = ("RSS", "PSS", "USS")
        samples = {(kind, one.name): [] for kind in kinds for one in (BARE, *here)}
        with Listener() as listener:
            for turn in range(-1, rounds):  # the first compiles, and fills the page cache
                for one in (BARE, *here):
                    with Fresh(one, _filled(program, one), listener.path) as process:
                        for kind, mb in process.memory_mb().items():
                            if turn >= 0:
                                samples[kind, one.name].append(mb)
        for kind in kinds:
            base = samples[kind, BARE.name]
            rows += [
                Row(GROUP, f"{figure}, {kind}", one.name if one.name == OURS else one.label, "MB",
                    above(samples[kind, one.name], base), must if one.name == OURS else None)
                for one in here
            ]  # fmt: skip
            rows += [
                missing(GROUP, f"{figure}, {kind}", one.name, "MB", one.lack) for one in absent
            ]
    return rows


def _in_turns(
    figure: str, unit: str, program: str, scale: float, rounds: int, *, must: float
) -> list[Row]:
    """One process of each candidate after the other, round by round: what the machine does
    meanwhile, it does to all of them."""
    here, absent = _present()
    samples: dict[str, list[float]] = {one.name: [] for one in here}
    with Listener() as listener:
        for turn in range(-1, rounds):
            for one in here:
                with Fresh(one, _filled(program, one), listener.path) as process:
                    if turn >= 0:
                        samples[one.name].append(float(process.words[0]) * scale)
    return [
        *(
            Row(GROUP, figure, one.name if one.name == OURS else one.label, unit,
                tuple(samples[one.name]), must if one.name == OURS else None)
            for one in here
        ),
        *(missing(GROUP, figure, one.name, unit, one.lack) for one in absent),
    ]  # fmt: skip


def _present() -> tuple[list[Candidate], list[Candidate]]:
    """The candidates that are here, and those that are not."""
    return [c for c in CANDIDATES if not c.lack], [c for c in CANDIDATES if c.lack]


def _filled(program: str, one: Candidate) -> str:
    return program.format(load=one.load, first=one.first, ping=one.ping, pings=PINGS)


MEASUREMENTS = (measure_import, measure_memory, measure_first_ready, measure_ping)
