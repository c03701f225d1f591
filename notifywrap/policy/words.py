"""What the target says of itself with sd_notify: what of it is passed on, and what of it counts.

Everything here comes from outside and is checked by value; what is not named here goes no further:
MAINPID would lock the wrapper out, WATCHDOG_USEC and NOTIFYACCESS are the unit's to decide.
"""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import Discard, Notify
from notifywrap.policy.spec import TargetNotify

if TYPE_CHECKING:
    from notifywrap.policy.events import Action, TargetNotified
    from notifywrap.policy.spec import Spec

__all__ = ["Words"]

# A target that pings faster than this share of WatchdogSec has its pings passed on at round ends.
_LEAST_SHARE = 1 / 8
# Pings are due every half of WatchdogSec (sd_watchdog_enabled(3)): later than that is worth a word.
_LATE_SHARE = 0.75


class Words:
    """The target's own account of itself.

    is_ready    it has said READY=1 since it was started, or since its last RELOADING=1
    ready_at    when it said so
    is_pinging  its pings are needed for ours: it has begun with them, or they are asked for
    unspent     it has pinged since our last ping
    status      its STATUS
    """

    def __init__(self, spec: Spec, now: float) -> None:
        self.watchdog_s = spec.watchdog_s
        required = spec.target_notify is TargetNotify.REQUIRE
        self.is_needed = required  # its READY=1, before ours
        self.is_ready, self.ready_at = False, now
        self.is_pinging = required or any(probe.text == "notify" for probe in spec.live)
        self.unspent = False
        self.pinged_at = now
        self.status = ""
        self._errno = ""

    def hear(self, event: TargetNotified, now: float, *, may_extend: bool) -> list[Action]:
        """Note what the target says; returns what of it is simply passed on.

        may_extend  is a job under way? EXTEND_TIMEOUT_USEC= would move the watchdog else
        """
        said = dict(reversed(event.assignments))  # the first of a repeated key counts
        actions = _pass_fds(event, said)
        if "STATUS" in said:
            self.status = said["STATUS"]
        errno = said.get("ERRNO", "")
        if _is_number(errno) and errno != self._errno:
            self._errno = errno
            actions.append(Notify((("ERRNO", errno),), None))
        if event.dying:
            return actions
        extended = said.get("EXTEND_TIMEOUT_USEC", "")
        if may_extend and _is_number(extended):
            actions.append(Notify((("EXTEND_TIMEOUT_USEC", extended),), 1.0))
        if said.get("WATCHDOG") == "trigger":
            actions.append(Notify((("WATCHDOG", "trigger"),), None))
        elif said.get("WATCHDOG") == "1" and self.watchdog_s is not None:
            self.is_pinging = self.unspent = True
            self.pinged_at = now
        return actions

    def begin_reload(self) -> None:
        """It reloads: what it said of being ready no longer holds, and it will say so anew."""
        self.is_ready, self.is_needed = False, True

    def lets_ping(self) -> bool:
        """Is there nothing of its own pings that keeps ours back?"""
        return not self.is_pinging or self.unspent

    def is_worth_a_ping(self, last_ping: float, now: float) -> bool:
        """Should its ping go on at once, rather than at the end of the next round?

        A target may ping only just in time: waiting for a round could make it late.
        """
        least_s = (self.watchdog_s or 0.0) * _LEAST_SHARE
        return self.unspent and now - last_ping >= least_s

    def silent_s(self, now: float) -> float | None:
        """How long it has not pinged, where that is too long; None where all is well."""
        if not self.is_pinging or self.unspent or self.watchdog_s is None:
            return None
        silent_s = now - self.pinged_at
        return silent_s if silent_s > _LATE_SHARE * self.watchdog_s else None


def _pass_fds(event: TargetNotified, said: dict[str, str]) -> list[Action]:
    """File descriptors go to systemd's store, or wait there as a barrier; others go nowhere."""
    named = tuple((key, said[key]) for key in ("FDNAME", "FDPOLL") if key in said)
    if event.fds and said.get("FDSTORE") == "1":
        return [Notify((("FDSTORE", "1"), *named), None, event.fds)]
    if len(event.fds) == 1 and event.assignments == (("BARRIER", "1"),):
        return [Notify((("BARRIER", "1"),), None, event.fds)]
    actions: list[Action] = [Discard(event.fds)] if event.fds else []
    if said.get("FDSTOREREMOVE") == "1" and "FDNAME" in said:
        actions.append(Notify((("FDSTOREREMOVE", "1"), ("FDNAME", said["FDNAME"])), None))
    return actions


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19
