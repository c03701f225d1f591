"""What commands spend from one ping to a later one, all of them watched at a time."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.bench import proc
from tests.bench.running import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.running import Run

__all__ = ["Spent", "Watched", "watch"]


class Watched(NamedTuple):
    """Look at *run* from its *skip*th ping on, until *count* more have come; where it does not ping
    (*count* is 0), for *window_s* after *settle_s*."""

    name: str
    run: Run
    skip: int = 2  # the first comes with READY=1, and the round of the second may load something
    count: int = 0
    settle_s: float = 2.0
    window_s: float = 20.0


class Spent(NamedTuple):
    """By a wrapper and all below it but the target; *wakeups* are its own process's alone.

    pings  when each came from the first look on, in s
    """

    cpu_s: float
    wakeups: int
    took_s: float
    pings: tuple[float, ...] = ()


class _Look(NamedTuple):
    cpu_s: float
    wakeups: int
    at_s: float


def watch(everyone: Sequence[Watched]) -> list[Spent]:
    """What each has spent, in their order. Returns when the last one is through."""
    began = time.monotonic()
    heard: list[list[float]] = [[] for _ in everyone]
    first: dict[int, _Look] = {}
    last: dict[int, _Look] = {}
    poll = select.poll()
    numbers = {one.run.inbox.fileno(): number for number, one in enumerate(everyone)}
    for fd in numbers:
        poll.register(fd, select.POLLIN)
    longest_s = max(one.settle_s + one.window_s for one in everyone) + LIMIT_S
    while len(last) < len(everyone):
        for fd, _ in poll.poll(50):
            number = numbers[fd]
            came_ns, datagram = everyone[number].run.inbox.next()
            if b"WATCHDOG=1" in datagram:
                heard[number].append(came_ns / 1e9)
        for number, one in enumerate(everyone):
            if number not in first:
                if _is_settled(one, heard[number], began):
                    first[number] = _look(one)
            elif number not in last and _is_over(one, heard[number], first[number]):
                last[number] = _look(one)
        assert time.monotonic() < began + longest_s, "they do not ping"
    return [
        Spent(
            last[number].cpu_s - first[number].cpu_s,
            last[number].wakeups - first[number].wakeups,
            last[number].at_s - first[number].at_s,
            tuple(heard[number][one.skip - 1 : one.skip + one.count]),
        )
        for number, one in enumerate(everyone)
    ]


def _is_settled(one: Watched, pings: list[float], began: float) -> bool:
    if one.count:
        return len(pings) >= one.skip
    return time.monotonic() >= began + one.settle_s


def _is_over(one: Watched, pings: list[float], first: _Look) -> bool:
    if one.count:
        return len(pings) >= one.skip + one.count
    return time.monotonic() >= first.at_s + one.window_s


def _look(one: Watched) -> _Look:
    members = [pid for pid in proc.tree(one.run.pid) if not proc.runs_script(pid, "target.py")]
    with_reaped = len(members) > 1 or "loop" in one.name  # its children are gone most of the time
    cpu_s = sum(proc.cpu_s(pid, with_reaped=with_reaped) for pid in members)
    return _Look(cpu_s, proc.wakeups(one.run.pid), time.monotonic())
