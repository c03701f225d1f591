"""What an attempt costs on every machine: its system calls, and the memory it leaves behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = Path(__file__).with_name("rounds.py")
FEW, MANY = 20, 120

# Of a live round; `alive` is part of each: open, read and close of one file. "look" is what is done
# a hundred times a second while nobody listens: poll, and one question to netlink. Where a server
# answers while we look it is 13 (http), 16 (unix) and 20 (tcp); where it does not, on a busy
# machine, poll and the counters of what keeps us waiting come to it.
MOST_CALLS = {"alive": 3, "listen": 9, "tcp": 30, "unix": 26, "http": 24, "look": 3}


def rounds(kind: str, *counts: int, trace: Path | None = None) -> list[int]:
    """Blocks of memory in use after each of these numbers of rounds, in an interpreter of their
    own; *trace* gets strace's summary."""
    tracer = [] if trace is None else ["strace", "-c", "-o", str(trace)]
    command = [*tracer, sys.executable, "-I", "-S", str(ROUNDS), str(ROOT), kind]
    done = subprocess.run(
        [*command, *map(str, counts)], capture_output=True, text=True, check=True, timeout=20
    )
    return [int(word) for word in done.stdout.split()]


def calls(summary: Path) -> dict[str, int]:
    """How often each system call was made."""
    rows = [line.split() for line in summary.read_text().splitlines()[2:]]
    return {
        row[-1]: int(row[3]) for row in rows if row[3:4] and row[3].isdigit() and row[-1] != "total"
    }


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed (script/setup)")
@pytest.mark.parametrize("kind", MOST_CALLS)
def test_a_round_makes_few_system_calls(kind: str, tmp_path: Path):
    """Two hundred services on a laptop, each of them every few seconds, for years."""
    found = []
    for count in (FEW, MANY):
        rounds(kind, count, trace=tmp_path / "summary")
        found.append(calls(tmp_path / "summary"))
    more = {
        name: (count - found[0].get(name, 0)) / (MANY - FEW) for name, count in found[1].items()
    }
    each = {name: count for name, count in more.items() if count > 0.05}
    assert 1 <= sum(each.values()) <= MOST_CALLS[kind], each


@pytest.mark.slow
@pytest.mark.parametrize("kind", MOST_CALLS)
def test_a_thousand_rounds_leave_no_memory_behind(kind: str):
    """One object a round is a megabyte a day, by our fault."""
    before, after = rounds(kind, 200, 1200)
    assert after - before <= 20
