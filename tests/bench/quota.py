"""Pings of a unit that has used up its CPUQuota=."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench import proc
from tests.bench.rows import OURS, Row, no_figure
from tests.bench.running import Run, free_port, served
from tests.bench.spending import Watched, watch
from tests.bench.wrappers import ours

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
QUOTA = 10  # % of a core
PERIOD_US = 100_000  # systemd's
PINGS = 60
WATCHDOG_S = 1.0
FIGURE = f"gap between pings, W = {WATCHDOG_S:g} s, CPUQuota={QUOTA}% used up by the target"
BURN = "import os, sys\nif os.fork():\n    while True: pass\nos.execv(sys.argv[1], sys.argv[1:])"


class _Controller(NamedTuple):
    """Where a cgroup with a limit on CPU can be made, and the file and text that set it."""

    home: Path
    limit: tuple[str, str]


def measure_quota(rounds: int) -> list[Row]:
    """The limit that CPUQuota= sets, on the wrapper and a target that never sleeps."""
    controller = _find()
    if isinstance(controller, str):
        return [no_figure(GROUP, FIGURE, OURS, "W", controller)]
    gaps: list[float] = []
    for _ in range(max(1, rounds // 20)):
        with _limited(controller) as procs:
            port = free_port()
            target = [sys.executable, "-I", "-S", "-c", BURN, *served(port)]
            words = [*ours("--probe", f"http://127.0.0.1:{port}/"), *target]
            join = ["/bin/sh", "-c", f'echo $$ >{procs}; exec "$@"', "sh", *words]
            with Run(join, watchdog_s=WATCHDOG_S) as run:
                (spent,) = watch([Watched(OURS, run, skip=1, count=PINGS)])
        gaps += [(after - before) / WATCHDOG_S for before, after in pairwise(spent.pings)]
    return [Row(GROUP, FIGURE, OURS, "W", tuple(gaps), most=1.0)]


def _find() -> _Controller | str:
    """The cpu controller, or why there is none for us. Source: cgroups(7), both versions."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    where = Path("/sys/fs/cgroup")
    for controllers, path in own.items():
        if "cpu" in controllers.split(","):
            home = where / controllers / path.lstrip("/")
            limit = "cpu.cfs_quota_us", str(PERIOD_US * QUOTA // 100)
            return _tried(_Controller(home, limit))
    home = where / own.get("", "/").lstrip("/")
    try:
        if "cpu" not in (home / "cgroup.subtree_control").read_text().split():
            return f"{home} hands down no cpu controller"
    except OSError as error:
        return f"no cpu controller: {error.strerror}"
    return _tried(_Controller(home, ("cpu.max", f"{PERIOD_US * QUOTA // 100} {PERIOD_US}")))


def _tried(controller: _Controller) -> _Controller | str:
    if os.access(controller.home, os.W_OK):
        return controller
    return f"{controller.home} is not ours to write"


@contextmanager
def _limited(controller: _Controller) -> Iterator[Path]:
    """The file that puts a process into a cgroup with the limit; what is in it ends with it."""
    home = controller.home / f"notifywrap-bench-{os.getpid()}"
    home.mkdir()
    try:
        name, text = controller.limit
        (home / name).write_text(text)
        yield home / "cgroup.procs"
    finally:
        while left := (home / "cgroup.procs").read_text().split():
            proc.end(*map(int, left))
        home.rmdir()


MEASUREMENTS = (measure_quota,)
