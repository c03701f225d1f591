"""How much memory does the target's process tree have resident."""

from __future__ import annotations

import os

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import Outcome, Sample
from notifywrap.policy.targetspec import format_size
from notifywrap.probes import Attempt
from notifywrap.probes.hidden import look_at
from notifywrap.probes.tree import members

if TYPE_CHECKING:
    from notifywrap.policy.probe import RssProbe
    from notifywrap.probes.target import Target

__all__ = ["RssAttempt"]

_PAGE = os.sysconf("SC_PAGESIZE")


class RssAttempt(Attempt):
    """Adds up once what every process of the tree has resident.

    A page that several of them share counts for each, as in ps(1) and top(1): what PSS would say
    costs the kernel a walk over all of their memory, and may be asked by few.
    """

    def __init__(self, probe: RssProbe, target: Target) -> None:
        self._limit = probe.limit
        self._target = target

    def _step(self) -> Sample:
        total = 0
        hidden = ""
        for pid in members(self._target):
            resident, reason = look_at(pid, _resident)
            total += resident
            if reason:
                hidden = f"cannot see the memory of pid {pid}: {reason}"
        if total > self._limit:  # whatever the hidden ones have comes on top
            reason = f"rss {format_size(total)} of {format_size(self._limit)}"
            return Sample(Outcome.FAILED, reason)
        if hidden:
            return Sample(Outcome.BROKEN, hidden)
        if total == 0:
            return Sample(Outcome.FAILED, "not running")
        return Sample(Outcome.PASSED)


def _resident(directory: str) -> int:
    """Bytes. Source: proc_pid_statm(5); all may read it."""
    with open(f"{directory}/statm", "rb", buffering=0) as file:
        return int(file.read(256).split()[1]) * _PAGE
