"""Whether a time-out may be the machine's fault rather than the target's."""

from __future__ import annotations

from notifywrap.policy.duration import format_duration

__all__ = ["find_excuse"]

# A process that could not run for a quarter of the time cannot blame another one for being slow.
SHARE = 0.25


def find_excuse(lasted_s: float, late_s: float, waited_s: float) -> str:
    """Why an attempt that timed out after *lasted_s* proves nothing; "" when it does.

    late_s    how late we woke up during it, at worst
    waited_s  how long we were ready to run during it, but did not (proc(5), /proc/pid/schedstat)
    """
    if late_s >= lasted_s * SHARE:
        return f"this machine was starved: notifywrap itself woke up {format_duration(late_s)} late"
    if waited_s >= lasted_s * SHARE:
        waited = format_duration(waited_s)
        return f"this machine was starved: notifywrap itself waited {waited} for a CPU"
    return ""
