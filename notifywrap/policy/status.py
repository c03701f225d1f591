"""What STATUS says: for people, one line, on change, at most once a second."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.duration import format_duration
from notifywrap.policy.health import Verdict
from notifywrap.policy.spec import DiscoverProbe, explain

if TYPE_CHECKING:
    from notifywrap.policy.exits import ExitStatus
    from notifywrap.policy.health import Health
    from notifywrap.policy.readiness import Readiness
    from notifywrap.policy.spec import Spec

__all__ = ["StatusLine", "describe_active", "describe_exit", "describe_waiting"]

LEAST_INTERVAL_S = 1.0
# When nothing has come of zero-config after this long, say what to add rather than what is awaited.
PUZZLED_AFTER_S = 2.0


class StatusLine:
    """The text that systemd has, the text that it should have, and when it may be told."""

    __slots__ = ("sent", "sent_at", "wanted")

    def __init__(self) -> None:
        self.sent = ""
        self.sent_at: float | None = None
        self.wanted = ""

    def next_deadline(self) -> float | None:
        """When the wanted text may be sent; None when systemd has it already."""
        if self.wanted == self.sent:
            return None
        return 0.0 if self.sent_at is None else self.sent_at + LEAST_INTERVAL_S

    def take(self, now: float) -> tuple[tuple[str, str], ...]:
        """The assignment to send now, whatever the last second was like; it then counts as sent."""
        self.sent, self.sent_at = self.wanted, now
        return (("STATUS", self.wanted),)


def describe_waiting(readiness: Readiness, now: float, doing: str = "starting") -> str:
    """What has to happen before READY=1."""
    missing = readiness.missing
    tried = [slot for slot in missing if type(slot.probe) is not DiscoverProbe]
    if not tried and missing:
        if now - readiness.started < PUZZLED_AFTER_S or (
            readiness.discovery and readiness.discovery.found
        ):
            return f"{doing}: waiting for the target to listen"
        return (
            f"{doing}: the target listens on no socket; if it never does, say how"
            " to tell that it is ready: --ready exec:COMMAND, file:/PATH or alive"
        )
    first = tried[0]
    more = f" (and {len(tried) - 1} more)" if len(tried) > 1 else ""
    return f"{doing}: waiting for {explain(first.probe, first.reason)}{more}"


def describe_active(
    spec: Spec, health: Health, ready_s: float, guessed: bool, last_ping: float, now: float
) -> str:
    """How the target is, and how long until systemd acts when it is not well."""
    live = ", ".join(probe.text for probe in health.probes[1:]) or "alive"
    if health.verdict in (Verdict.UNKNOWN, Verdict.HEALTHY) and not health.reason:
        hint = " (guessed: name the probe that matters with --probe)" if guessed else ""
        return f"ready after {format_duration(ready_s)}, watching {live}{hint}"
    acts = ""
    if spec.watchdog_s is not None:
        left_s = max(0.0, last_ping + spec.watchdog_s - now)
        acts = f"; systemd acts in {left_s:.1f} s unless it recovers"
    streak = f", {health.streak} in a row" if health.streak > 1 else ""
    if health.verdict is Verdict.UNDECIDED:
        return f"undecided: {health.reason}, but {health.excuse}; pings go on for now{streak}"
    if health.verdict is Verdict.UNKNOWN:
        return f"unknown: the probe itself failed: {health.reason}{streak}{acts}"
    return f"unhealthy: {health.reason}{streak}{acts}"


def describe_exit(status: ExitStatus, spec: Spec, was_ready: bool) -> str:
    """How the target ended."""
    how = (
        f"was killed by {spec.name_of(status.signum)}"
        if status.signum
        else f"exited with status {status.code}"
    )
    return f"the target {how}" + ("" if was_ready else " before it was ready")
