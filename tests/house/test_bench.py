"""script/bench still runs. What it measures is never asserted: that is the machine's affair."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import library
from tests.bench.rows import Row, above
from tests.bench.table import as_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_bench_measures_ours_and_says_which_peers_are_not_here():
    """One round of everything."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--rounds", "1", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    ours = [row for row in rows if row["who"] == "notifywrap" and row["group"] == "library"]
    assert {row["figure"].split(",")[0] for row in ours} == {
        "import",
        "memory of the import above a bare interpreter",
        "memory after ready() above a bare interpreter",
        "import and first ready()",
        "CPU of a ping",
    }
    assert all(len(row["samples"]) == 1 for row in ours)
    assert all(row["samples"] or "not installed" in row["note"] for row in rows)


def test_table_has_medians_ranges_and_ratios():
    """And says which promise is not kept, and who is not there."""
    rows = [
        Row("g", "size", "notifywrap", "MB", (1.0, 4.0, 2.0), must=1.5),
        Row("g", "size", "other", "MB", (6.0, 5.0, 7.0)),
        Row("g", "size", "third", "MB", (), note="not installed"),
    ]
    said = [line.split() for line in as_table(rows).splitlines()[3:]]
    assert said[1] == [
        "notifywrap",
        "2",
        "1",
        "to",
        "4",
        "1.00",
        "must",
        "be",
        "<=",
        "1.5:",
        "MISSED",
    ]
    assert said[2] == ["other", "6", "5", "to", "7", "3.00"]
    assert said[3] == ["third", "-", "not", "installed"]


def test_rounds_are_compared_with_their_own_base():
    """A machine that gets slower in the middle changes both."""
    assert above([3.0, 9.0], [1.0, 7.0]) == (2.0, 2.0)


def test_every_measurement_says_what_it_is():
    """The next group is written by looking at this one."""
    assert all(measure.__doc__ for measure in library.MEASUREMENTS)
