"""What the kernel counts for a process: CPU, memory, wake-ups, children."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = [
    "cpu_s",
    "end",
    "is_zombie",
    "memory_mb",
    "name_of",
    "orphans",
    "runs_script",
    "tree",
    "wakeups",
]

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int, *, with_reaped: bool = False) -> float:
    """CPU time that it has had; *with_reaped* also what its children had that have ended.

    Source: proc_pid_schedstat (in ns); proc_pid_stat(5), cutime and cstime (in ticks of 10 ms).
    """
    try:
        own = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
        if not with_reaped:
            return own
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # a curl of a loop: its parent has it in its account by now
    return own + (int(fields[13]) + int(fields[14])) * _TICK_S


def memory_mb(pid: int) -> dict[str, float]:
    """RSS, PSS and USS as the kernel counts them now. Source: proc_pid_smaps_rollup(5)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kb = {
        line.split(":")[0]: int(line.split()[1])
        for line in text.splitlines()[1:]
        if line.endswith("kB")
    }
    uss = kb["Private_Clean"] + kb["Private_Dirty"]
    return {"RSS": kb["Rss"] / 1024, "PSS": kb["Pss"] / 1024, "USS": uss / 1024}


def wakeups(pid: int) -> int:
    """How often it has gone to sleep and was woken: its voluntary context switches."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def tree(pid: int) -> list[int]:
    """It and all that it has started, parents first."""
    found = [pid]
    for one in found:
        try:
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended meanwhile
    return found


def end(*pids: int) -> None:
    """Kill these and all that they have started, and reap what is ours to reap.

    Not by process group: shells and supervisors make groups of their own.
    """
    for one in [member for pid in pids for member in tree(pid)]:
        try:
            os.kill(one, 9)
        except ProcessLookupError:
            continue
        try:
            os.waitpid(one, 0)  # its children are ours then, as we are a subreaper
        except ChildProcessError:
            pass  # somebody else's


def runs_script(pid: int, name: str) -> bool:
    """Is it `python3 -I -S .../NAME`? The wrapper around that has it on its command line too."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return len(words) > 3 and words[3].endswith(b"/" + name.encode())


def name_of(pid: int) -> str:
    """Of its program, the first 15 characters; "" when it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def orphans() -> list[int]:
    """Our children: what we have started, and what has lost its parent (see tidied())."""
    me = os.getpid()
    return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]


def is_zombie(pid: int) -> bool:
    """Has it ended, and nobody has reaped it?"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
