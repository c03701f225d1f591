"""Whether a time-out may be somebody else's fault rather than the target's."""

from __future__ import annotations

from notifywrap.lean import NamedTuple
from notifywrap.policy.duration import format_duration

__all__ = ["Hindrance", "find_excuse"]

# A process that could not run for a quarter of the time cannot blame another one for being slow.
SHARE = 0.25
# Both clocks of a machine that is awake run alike; between reading one and the other we may be kept
# waiting.
SUSPENDED_S = 0.1
LEAST_S = 0.001  # of any delay: below it lies what every wake-up takes


class Hindrance(NamedTuple):
    """What was in the way during an attempt, as far as the kernel tells. All lengths in seconds.

    late_s       how late we woke up, at worst
    waited_s     how long we were ready to run, but did not (proc(5), /proc/pid/schedstat)
    stalls       who was kept waiting for what, and how long: ("this service", "a CPU", 0.3)
    suspended_s  how long the machine slept
    tracer       who traces the target with ptrace(2), "" for nobody
    """

    late_s: float = 0.0
    waited_s: float = 0.0
    stalls: tuple[tuple[str, str, float], ...] = ()
    suspended_s: float = 0.0
    tracer: str = ""


def find_excuse(lasted_s: float, hindrance: Hindrance) -> str:
    """Why an attempt that timed out after *lasted_s* proves nothing; "" when it does.

    The most certain reason is named first. None of them is a pardon: how long the target may live
    on excuses is bounded elsewhere, because a target that hangs may be traced on a busy machine.
    """
    if hindrance.tracer:
        return f"it is being traced by {hindrance.tracer}"
    if hindrance.suspended_s >= SUSPENDED_S:
        return f"this machine was asleep for {format_duration(hindrance.suspended_s)}"
    least_s = max(lasted_s * SHARE, LEAST_S)
    if hindrance.late_s >= least_s:
        late = format_duration(hindrance.late_s)
        return f"this machine was starved: notifywrap itself woke up {late} late"
    ours = ("notifywrap itself", "a CPU", hindrance.waited_s)
    for who, what, stalled_s in (ours, *hindrance.stalls):
        if stalled_s >= least_s:
            return f"this machine was starved: {who} waited {format_duration(stalled_s)} for {what}"
    return ""
