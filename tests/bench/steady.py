"""What a wrapper costs once its target is ready: CPU and wake-ups, per hour and per attempt."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.bench.kinds import kinds
from tests.bench.rows import OURS, Row, missing
from tests.bench.running import Run, free_port, served, until_served
from tests.bench.spending import Spent, Watched, watch
from tests.bench.supervisors import NAMES, Supervisor
from tests.bench.wrappers import by_name, ours

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
WATCHDOGS_S = {1.0: 40, 10.0: 8, 30.0: 4}  # W: live rounds that are looked at, 4 to a W
COPIES = 3
ATTEMPTS = 300  # of which the cost of one is the mean
PERIOD_S = 0.005
WINDOW_S = 20.0  # of those who do not ping
MUST_CPU = 0.05  # % of a core, at W = 30 s
MUST_WAKEUPS = 3.0
EXTRAPOLATED = "extrapolated"


def measure_ready(rounds: int) -> list[Row]:
    """http, per W: from one ping to a later one, extrapolated to an hour. All that there is to
    compare runs at a time, so that the machine is the same for all."""
    found: dict[tuple[str, str], list[Spent]] = {}
    lacks: dict[str, str] = {}
    for _ in range(max(1, rounds // 10)):
        with ExitStack() as stack:
            everyone = _begin(stack, lacks)
            for one, spent in zip(everyone, watch(everyone), strict=True):
                who, _, condition = one.name.partition("|")
                found.setdefault((condition, who), []).append(spent)
    rows = []
    for condition in [f"W = {watchdog_s:g} s" for watchdog_s in WATCHDOGS_S]:
        several = {who: each for (when, who), each in found.items() if when in (condition, "")}
        rows += _rows(condition, several, lacks)
    return rows


def _begin(stack: ExitStack, lacks: dict[str, str]) -> list[Watched]:
    everyone = []
    for watchdog_s, count in WATCHDOGS_S.items():
        condition = f"W = {watchdog_s:g} s"
        for _ in range(COPIES):
            port = free_port()
            words = [*ours("--probe", f"http://127.0.0.1:{port}/"), *served(port)]
            run = stack.enter_context(Run(words, watchdog_s=watchdog_s))
            everyone.append(Watched(f"{OURS}|{condition}", run, count=count))
        for one in by_name("shell", "python"):
            if one.lack:
                lacks[one.name] = one.lack
                continue
            port = free_port()
            words = one.around(served(port), f"http://127.0.0.1:{port}/", watchdog_s)
            run = stack.enter_context(Run(words, watchdog_s=watchdog_s, env=one.env))
            half = max(1, count // 2)  # they ping twice in a W
            everyone.append(Watched(f"{one.name}|{condition}", run, skip=1, count=half))
    for supervisor in map(Supervisor, NAMES):
        if supervisor.lack:
            lacks[supervisor.name] = supervisor.lack
            continue
        port = free_port()
        run = stack.enter_context(Run(supervisor.around(served(port)), env=supervisor.env))
        until_served(run, port)
        everyone.append(Watched(f"{supervisor.name} (no probes)", run, window_s=WINDOW_S))
    return everyone


def _rows(condition: str, found: dict[str, list[Spent]], lacks: dict[str, str]) -> list[Row]:
    at_30 = condition == "W = 30 s"
    rows = []
    for who, several in found.items():
        cpu = tuple(spent.cpu_s / spent.took_s * 100 for spent in several)
        must = MUST_CPU if who == OURS and at_30 else None
        rows.append(Row(GROUP, f"CPU when ready, http, {condition}", who, "% of a core", cpu, must))
    for who, several in found.items():
        hourly = tuple(spent.cpu_s / spent.took_s * 3600 for spent in several)
        figure = f"CPU per hour when ready, http, {condition}"
        rows.append(Row(GROUP, figure, who, "s", hourly, note=EXTRAPOLATED))
    for who, several in found.items():
        hourly = tuple(spent.wakeups / spent.took_s * 3600 for spent in several)
        note = EXTRAPOLATED + (", of bash alone" if "shell" in who else "")
        figure = f"wake-ups per hour when ready, http, {condition}"
        rows.append(Row(GROUP, figure, who, "", hourly, note=note))
    if OURS in found:
        each = tuple(spent.wakeups / (len(spent.pings) - 1) for spent in found[OURS])
        figure = f"wake-ups per live round, http, {condition}"
        rows.append(Row(GROUP, figure, OURS, "", each, MUST_WAKEUPS))
    figure = f"CPU when ready, http, {condition}"
    rows += [missing(GROUP, figure, who, "% of a core", why) for who, why in lacks.items()]
    return rows


def measure_attempts(rounds: int) -> list[Row]:
    """CPU of one live round: the attempt, the look at the target (`alive`), and the ping. In quick
    succession: after a long sleep it takes more, as "CPU per hour" shows."""
    figure, rows = "CPU of one live round, per probe", []
    for kind in kinds():
        if kind.lack:
            rows.append(missing(GROUP, figure, kind.name, "us", kind.lack))
        if kind.lack or not kind.is_probe:
            continue
        found = []
        for _ in range(max(1, min(rounds // 5, 4))):
            with kind.begin(PERIOD_S) as run:
                (spent,) = watch([Watched(kind.name, run, skip=20, count=ATTEMPTS)])
                found.append(spent.cpu_s / ATTEMPTS * 1e6)
        rows.append(Row(GROUP, figure, kind.name, "us", tuple(found)))
    return rows


MEASUREMENTS = (measure_ready, measure_attempts)
