"""Run one probe to its end, blocking: for `notifywrap probe`."""

from __future__ import annotations

import select
import time

from notifywrap.lean import TYPE_CHECKING
from notifywrap.probes import open_attempt
from notifywrap.probes.target import Target

if TYPE_CHECKING:
    from notifywrap.policy.events import Sample
    from notifywrap.policy.probe import Probe
    from notifywrap.probes import Attempt

__all__ = ["run_once"]


def run_once(probe: Probe, target: Target | None, timeout_s: float) -> Sample:
    """The Sample of one attempt. Without a target whose socket it is remains unchecked."""
    shared = Target() if target is None else target
    attempt = open_attempt(probe, shared)
    deadline = time.monotonic() + timeout_s
    try:
        while (sample := attempt.advance()) is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return attempt.overdue()
            _wait(attempt, left_s)
        return sample
    finally:
        attempt.close()
        if target is None:
            shared.close()


def _wait(attempt: Attempt, left_s: float) -> None:
    poll = select.poll()
    if attempt.fileno() >= 0:
        poll.register(attempt.fileno(), attempt.wants)
    if attempt.wake_after_s is not None:
        left_s = min(left_s, attempt.wake_after_s)
    poll.poll(left_s * 1000)
