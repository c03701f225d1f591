"""What STATUS says: for people, one line, on change, at most once a second."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.duration import format_duration
from notifywrap.policy.health import Verdict
from notifywrap.policy.probe import DiscoverProbe, explain

if TYPE_CHECKING:
    from notifywrap.policy.exits import ExitStatus
    from notifywrap.policy.machine import Machine
    from notifywrap.policy.readiness import Readiness
    from notifywrap.policy.spec import Spec

__all__ = [
    "StatusLine",
    "describe_active",
    "describe_exit",
    "describe_missing",
    "describe_waiting",
    "with_words",
]

LEAST_INTERVAL_S = 1.0
# When nothing has come of zero-config after this long, say what to add rather than what is awaited.
PUZZLED_AFTER_S = 2.0
_SAY_HOW = "say how to tell that it is ready: --ready exec:COMMAND, file:/PATH or alive"


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


def describe_waiting(
    readiness: Readiness, now: float, doing: str = "starting", target_says: str = ""
) -> str:
    """What has to happen before READY=1."""
    return with_words(f"{doing}: {describe_missing(readiness, now)}", target_says)


def describe_missing(readiness: Readiness, now: float) -> str:
    """What has not passed yet, and why."""
    missing = readiness.missing
    tried = [slot for slot in missing if type(slot.probe) is not DiscoverProbe]
    if tried:
        first = tried[0]
        more = f" (and {len(tried) - 1} more)" if len(tried) > 1 else ""
        return f"waiting for {explain(first.probe, first.reason)}{more}"
    if not missing:
        return f"passing, for {format_duration(readiness.stable_s)} on end (--stable-for)"
    if now - readiness.started < PUZZLED_AFTER_S or (
        readiness.discovery and readiness.discovery.found
    ):
        return "waiting for the target to listen"
    if readiness.discovery and readiness.discovery.trouble:
        return f"waiting for the target to listen: {readiness.discovery.trouble}; {_SAY_HOW}"
    return f"the target listens on no socket; if it never does, {_SAY_HOW}"


def describe_active(machine: Machine, now: float) -> str:
    """How the target is, and how long until systemd acts when it is not well."""
    health, spec = machine.health, machine.spec
    silent_s = machine.words.silent_s(now)
    is_well = health.verdict in (Verdict.UNKNOWN, Verdict.HEALTHY) and not health.reason
    if is_well and silent_s is None:
        live = ", ".join(probe.text for probe in health.probes[1:]) or "alive"
        own = " and its own pings" if machine.words.is_pinging else ""
        guessed = machine.readiness.discovery is not None
        hint = " (guessed: name the probe that matters with --probe)" if guessed else ""
        text = f"ready after {format_duration(machine.ready_s)}, watching {live}{own}{hint}"
        if machine.reload.trouble:
            text = f"the last reload failed: {machine.reload.trouble}; {text}"
        return with_words(text, machine.words.status)
    acts = ""
    if spec.watchdog_s is not None:
        left_s = max(0.0, machine.last_ping + spec.watchdog_s - now)
        acts = f"; systemd acts in {left_s:.1f} s unless it recovers"
    if is_well:
        return f"unhealthy: the target has not pinged for {silent_s:.1f} s{acts}"
    streak = f", {health.streak} in a row" if health.streak > 1 else ""
    if health.verdict is Verdict.UNDECIDED:
        return f"undecided: {health.reason}, but {health.excuse}; pings go on for now{streak}"
    if health.verdict is Verdict.UNKNOWN:
        return f"unknown: the probe itself failed: {health.reason}{streak}{acts}"
    return f"unhealthy: {health.reason}{streak}{acts}"


def with_words(text: str, target_says: str) -> str:
    """*text*, and what the target itself says."""
    return f"{text}; the target says: {target_says}" if target_says else text


def describe_exit(status: ExitStatus, spec: Spec, was_ready: bool) -> str:
    """How the target ended."""
    how = (
        f"was killed by {spec.name_of(status.signum)}"
        if status.signum
        else f"exited with status {status.code}"
    )
    return f"the target {how}" + ("" if was_ready else " before it was ready")
