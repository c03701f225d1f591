"""script/bench still runs. What it measures is never asserted: that is the machine's affair."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bench import plots, proc
from tests.bench.__main__ import GROUPS
from tests.bench.rows import OURS, Row, above
from tests.bench.table import as_table

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 30.0
# Each group with as little as shows that it works.
TINY = {
    "ending": {},
    "growth": {"SOCKETS": (10,), "TREES": (2,), "FDS": (20,)},
    "library": {},
    "memory": {"COUNTS": (2,)},
    "pings": {"WATCHDOGS_S": {1.0: 2}, "COPIES": {1.0: 1}},
    "quota": {"PINGS": 2},
    "readiness": {"STARTS_S": (0.05,)},
    "scale": {"COUNTS": (2,), "WINDOW_S": 0.1, "WATCHDOG_S": 1},
    "start": {},
    "steady": {"WATCHDOGS_S": {1.0: 2}, "COPIES": 1, "ATTEMPTS": 5, "WINDOW_S": 0.1},
    "traefik": {},
}
SLOW = {"library", "memory", "readiness", "steady"}


as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="looks into processes that only root may look into"
)
# In a process of its own: it ends all of its children.
RUN = """
import ast, importlib, sys
from tests.bench import proc
from tests.bench.table import as_json
from tests.bench.tidy import tidied
module = importlib.import_module(f"tests.bench.{sys.argv[1]}")
for name, value in ast.literal_eval(sys.argv[2]).items():
    getattr(module, name)
    setattr(module, name, value)
with tidied():
    rows = [row for measure in module.MEASUREMENTS for row in measure(1)]
print(as_json(rows))
assert proc.orphans() == []
"""


@as_root
@pytest.mark.parametrize(
    "group",
    [pytest.param(one, marks=[pytest.mark.slow] if one in SLOW else []) for one in TINY],
)
def test_every_group_measures_ours_and_says_who_is_not_here(group: str):
    """A benchmark that has broken unnoticed is found out when somebody needs it."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, group, repr(TINY[group])],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {row["group"] for row in rows} == {group}
    lacks = [row["note"] for row in rows if not row["samples"]]
    assert all(note.startswith(("not installed", "not measured")) for note in lacks), lacks
    assert [row for row in rows if row["who"].startswith(OURS)]


def test_every_group_is_run():
    """One command for everything."""
    assert set(GROUPS) == set(TINY)


def test_every_measurement_says_what_it_is():
    """The next group is written by looking at this one."""
    assert all(measure.__doc__ for measures in GROUPS.values() for measure in measures)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """tmp_path may be too long for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


def test_nothing_is_left_after_an_interrupt(short_path: Path):
    """^C in the middle, as whoever has seen enough does it."""
    environment = {**os.environ, "TMPDIR": str(short_path)}
    bench = subprocess.Popen(
        [sys.executable, "-m", "tests.bench", "ending", "--rounds", "1000"],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    pause = threading.Event()
    deadline = time.monotonic() + LIMIT_S
    while len(started := proc.tree(bench.pid)) < 3:
        assert bench.poll() is None, "it has ended"
        assert time.monotonic() < deadline, "it starts nothing"
        pause.wait(0.002)
    bench.send_signal(signal.SIGINT)
    said, _ = bench.communicate(timeout=LIMIT_S)
    assert bench.returncode == 130
    assert said == b""
    assert [pid for pid in started[1:] if str(short_path).encode() in _environment(pid)] == []
    assert list(short_path.iterdir()) == []


def _environment(pid: int) -> bytes:
    """A pid may be somebody else's by now; what the bench has started knows its directory."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def test_table_has_medians_ranges_and_ratios():
    """And says which promise is not kept, and who is not there."""
    rows = [
        Row("g", "size", "notifywrap", "MB", (1.0, 4.0, 2.0), must=1.5),
        Row("g", "size", "other", "MB", (6.0, 5.0, 7.0)),
        Row("g", "size", "third", "MB", (), note="not installed"),
    ]
    said = [" ".join(line.split()) for line in as_table(rows).splitlines()[4:]]
    assert said == [
        "notifywrap 2 1 to 4 1.00 must be <= 1.5: MISSED",
        "other 6 5 to 7 3.00",
        "third - not installed",
    ]


def test_one_bad_run_misses_a_promise_about_the_worst():
    """A median says nothing about it."""
    row = Row("g", "late", "notifywrap", "ms", (1.0, 1.0, 9.0), must=2.0, most=5.0)
    assert row.is_met is False
    assert row._replace(most=10.0).is_met is True


def test_rounds_are_compared_with_their_own_base():
    """A machine that gets slower in the middle changes both."""
    assert above([3.0, 9.0], [1.0, 7.0]) == (2.0, 2.0)


@pytest.mark.skipif(
    not (plots.PEERS / "matplotlib").is_dir(), reason="no matplotlib here (script/setup bench)"
)
def test_plots_are_drawn_of_what_was_measured(tmp_path: Path):
    """In a process of its own: what draws them is not installed with the package."""
    program = (
        "import sys, pathlib\n"
        "from tests.bench.plots import draw\n"
        "from tests.bench.rows import Row\n"
        "rows = [Row('g', f'target serves to READY=1, http, start of {s} s', who, 'ms', (s, 2.0))\n"
        "        for s in (0.5, 2) for who in ('notifywrap', 'other')]\n"
        "rows.append(Row('g', 'gap between pings, W = 1 s, idle', 'notifywrap', 'W', (0.2, 0.3)))\n"
        "rows.append(Row('g', 'memory when ready, http, PSS', 'other', 'MB', (1.0,)))\n"
        "sys.exit(draw(rows, pathlib.Path(sys.argv[1])))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True)
    drawn = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(drawn) == {"memory.svg", "pings.svg", "readiness.svg"}
    assert all("notifywrap" in drawn[name] for name in ("pings.svg", "readiness.svg"))
