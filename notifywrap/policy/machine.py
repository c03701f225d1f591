"""Decisions only: (state, event, now) -> actions. No clock, no I/O.

Times are seconds on CLOCK_MONOTONIC. The supervisor performs the actions in order, reports what
happened as the next event, and sends a Timer when `next_deadline()` has come.

What a signal and a reload mean is in signalling.py and reload.py, how it all ends in endings.py,
what the target says of itself in words.py.
"""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.discovery import QUIET_LEAST_S
from notifywrap.policy.duration import format_duration
from notifywrap.policy.endings import abort, look_for_successor, on_abort, on_exit, on_followed
from notifywrap.policy.events import (
    Abort,
    Followed,
    Forward,
    Level,
    Notify,
    ReloadAsked,
    ReloadEnded,
    Sampled,
    Say,
    Signalled,
    TargetExited,
    TargetNotified,
)
from notifywrap.policy.health import Health, Verdict
from notifywrap.policy.patience import MARGIN_S, Patience, ask_for
from notifywrap.policy.probe import EXEC_PACE
from notifywrap.policy.reload import Reload
from notifywrap.policy.signalling import forward_abort, on_reload_asked, on_signal
from notifywrap.policy.state import STOPPABLE, WAITING, WATCHING, State
from notifywrap.policy.status import (
    StatusLine,
    describe_active,
    describe_missing,
    describe_waiting,
    with_words,
)
from notifywrap.policy.words import Words

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.events import Action, Event
    from notifywrap.policy.readiness import Readiness
    from notifywrap.policy.spec import Spec
    from notifywrap.policy.succession import Succession

__all__ = ["TRANSITIONS", "Machine"]

SIGKILL = 9

# A target that is well and unwell by turns, one worker of two say, gets a pair of lines this often.
QUIET_S = 10.0
# A target that says READY=1 may listen a moment later, or never.
SEEK_S = 30.0


class Machine:
    """One life of a target, from its start to its end."""

    def __init__(self, spec: Spec, now: float) -> None:
        self.spec = spec
        self.state = State.STARTING
        self.started = now
        self.attempts = 0
        self.words = Words(spec, now)
        self.reload = Reload(spec, self.number)
        self.readiness: Readiness = self.reload.expect_start(now, needs_word=self.words.is_needed)
        grace_s = spec.watchdog_s or 0.0
        self.health = Health(spec.live, spec.period_s, spec.timeout_s, grace_s, self.number)
        self.patience = Patience(spec.start_timeout_s, now)
        self.succession: Succession | None = None  # while nobody is followed
        self.is_seeking = False  # for sockets, after its own word has made it ready
        self.verdict_said = Verdict.HEALTHY
        self.quiet_until = now
        self.status = StatusLine()
        self.ready_s = 0.0  # how long it took to become ready
        self.last_ping = now
        self.deadline: float | None = None  # of the reload, or of our patience while aborting
        self.abort_at: float | None = None  # when the target gets the ABRT that we got
        self.said: set[str] = set()
        self.doing = ""  # how it is stopped
        self.cause = ""  # what was wrong before it ended

    def start(self, now: float) -> list[Action]:
        """The first actions; call once, when the target has been started."""
        self.describe_waiting(now)
        return self._finish([], now)

    def handle(self, event: Event, now: float) -> list[Action]:
        """What to do about *event*. After Exit there is nothing to do about anything."""
        if self.state is State.ENDED:
            return []
        method = TRANSITIONS.get((self.state, type(event)))
        return self._finish(method(self, event, now) if method else [], now)

    def next_deadline(self) -> float | None:
        """The moment by which a Timer is wanted; None when only an event can change anything."""
        if self.state is State.ENDED:
            return None
        moments = [self.status.next_deadline(), self.deadline, self.abort_at]
        if self.state is State.STARTING:
            moments.append(self.patience.next_deadline())
        if self.succession is not None:
            moments += [self.succession.next_deadline(), self.succession.ends_at]
        else:
            if self.state in WAITING or self.is_seeking:
                moments.append(self.readiness.next_deadline())
            if self.state in WATCHING:
                moments.append(self.health.next_deadline())
        return min((moment for moment in moments if moment is not None), default=None)

    def number(self) -> int:
        """The number of the next attempt."""
        self.attempts += 1
        return self.attempts

    def _finish(self, actions: list[Action], now: float) -> list[Action]:
        """What every event ends with: deadlines that have come, attempts that are due, STATUS on
        change."""
        if self.deadline is not None and self.deadline <= now:
            actions += self._give_up(now)
        if self.abort_at is not None and self.abort_at <= now:
            actions += forward_abort(self)
        if self.state is State.STARTING:
            actions += self._wait_on(now)
        if self.succession is not None:
            actions += look_for_successor(self, self.succession, now)
        else:
            actions += self._proceed(now)
        due = self.status.next_deadline()
        if self.state is not State.ENDED and due is not None and due <= now:
            actions.append(Notify(self.status.take(now)))
        return actions

    def _proceed(self, now: float) -> list[Action]:
        """Become ready if nothing is missing any more, and try what is due."""
        actions: list[Action] = []
        if self.state in WAITING and self._is_ready(now):
            self.is_seeking = not self.readiness.is_done
            if self.is_seeking:
                self.readiness.pace = EXEC_PACE
            actions += self.readiness.close()
            is_start = self.state is State.STARTING
            actions += self._become_active(now) if is_start else self.reload.end(self, "", now)
        if self.state in WAITING or self.is_seeking:
            actions += self._seek(now)
        if self.state in WATCHING:
            actions += self.health.open_due(now)
        return actions

    def _seek(self, now: float) -> list[Action]:
        """Try what is due. After a READY=1 by the target's own word alone that is the discovery of
        its sockets: they are what shows a hang."""
        if not self.is_seeking:
            return self.readiness.open_due(now)
        if self.readiness.is_done:
            self.health.watch(self.readiness.found)
            self.describe_active(now)
        if self.readiness.is_done or now - self.started - self.ready_s > SEEK_S:
            self.is_seeking = False
            return self.readiness.close()
        return self.readiness.open_due(now)

    def _is_ready(self, now: float) -> bool:
        if self.readiness.is_done:
            return True
        # Nobody named a probe: its own word will do where it listens on nothing. Not at once, as
        # some say it a moment before they listen (Traefik does).
        discovery = self.readiness.discovery
        if self.state is not State.STARTING or discovery is None or not self.words.is_ready:
            return False
        return not discovery.found and now - self.words.ready_at >= QUIET_LEAST_S

    def _give_up(self, now: float) -> list[Action]:
        self.deadline = None
        if self.state is State.RELOADING:
            after = format_duration(self.spec.reload_timeout_s)
            missing = describe_missing(self.readiness, now)
            return self.reload.end(self, f"not ready after {after}: {missing}", now)
        return [Say(Level.WARNING, "the target did not stop in time, killing it"), Forward(SIGKILL)]

    def _wait_on(self, now: float) -> list[Action]:
        """--start-timeout: ask systemd for more time, and stop the target when it has had its
        own."""
        if not self.patience.is_over(now):
            return self.patience.extend(now)
        after = format_duration(now - self.started)
        text = f"not ready after {after} (--start-timeout), stopping the target: "
        text += describe_missing(self.readiness, now)
        return [ask_for(self.spec.kill_after_s + MARGIN_S), *abort(self, text, now)]

    # --- samples --------------------------------------------------------------------------------

    def on_sample(self, event: Sampled, now: float) -> list[Action]:
        """An attempt ended."""
        actions = self._say_once(event.sample.note)
        if self.health.owns(event.attempt):
            actions += self.health.record(event, now)
            return actions + (self._end_round(now) if self.health.round_is_over else [])
        if self.state not in WAITING and not self.is_seeking:
            return actions
        actions += self.readiness.record(event.attempt, event.sample, now)
        if self.state is State.RELOADING and (why := self.reload.find_failure(self.readiness)):
            return actions + self.reload.end(self, why, now)
        if self.state in WAITING:
            self.describe_waiting(now)
        return actions

    def _say_once(self, note: str) -> list[Action]:
        if not note or note in self.said:
            return []
        self.said.add(note)
        return [Say(Level.NOTICE, note)]

    def describe_waiting(self, now: float) -> None:
        doing = "starting" if self.state is State.STARTING else "reloading"
        self.status.wanted = describe_waiting(self.readiness, now, doing, self.words.status)

    def _become_active(self, now: float) -> list[Action]:
        self.state = State.ACTIVE
        self.ready_s = now - self.started
        self.health.begin(now)
        # READY=1, and with it the first ping: the ready probes are the evidence.
        actions = self.tell_ready(now, has_passed=True, may_ping=True)
        return [Say(Level.INFO, self.status.sent), *actions]

    def tell_ready(self, now: float, *, has_passed: bool, may_ping: bool) -> list[Action]:
        """READY=1, with what has just been found to be watched, and a ping where there is evidence
        for one."""
        if has_passed and self.readiness.discovery is not None:
            self.health.watch(self.readiness.found)
        ping = self._take_ping(now) if has_passed and may_ping else ()
        self.describe_active(now)
        return [Notify((("READY", "1"), *self.status.take(now), *ping), None)]

    def _take_ping(self, now: float) -> tuple[tuple[str, str], ...]:
        """WATCHDOG=1; the target's last ping is then spent."""
        if self.spec.watchdog_s is None:
            return ()
        self.last_ping, self.words.unspent = now, False
        return (("WATCHDOG", "1"),)

    def describe_active(self, now: float) -> None:
        self.status.wanted = describe_active(self, now)

    def _end_round(self, now: float) -> list[Action]:
        actions: list[Action] = []
        verdict = self.health.verdict
        # Undecided: who is starved cannot ping either, so its own pings are not waited for then.
        is_fine = verdict is Verdict.HEALTHY and self.words.lets_ping()
        if is_fine or verdict is Verdict.UNDECIDED:
            actions = self._ping(now)
        if verdict is Verdict.UNHEALTHY and self.health.streak == self.spec.fail_after:
            text = f"{self.health.streak} rounds failed in a row (--fail-after): telling systemd"
            actions += [Say(Level.ERROR, text), Notify((("WATCHDOG", "trigger"),), None)]
        if self.state is State.ACTIVE:
            self.describe_active(now)
        if verdict is Verdict.HEALTHY and self.words.silent_s(now) is not None:
            verdict = Verdict.UNKNOWN  # the probes pass and its pings have stopped: worth a line
        return actions + self._say_verdict(verdict, now)

    def _say_verdict(self, verdict: Verdict, now: float) -> list[Action]:
        if verdict is self.verdict_said:
            return []
        if verdict is Verdict.HEALTHY:
            self.verdict_said = verdict
            return [Say(Level.NOTICE, "healthy again")]
        if now < self.quiet_until:
            return []
        self.verdict_said, self.quiet_until = verdict, now + QUIET_S
        return [Say(Level.WARNING, describe_active(self, now))]

    def _ping(self, now: float) -> list[Action]:
        ping = self._take_ping(now)
        return [Notify(ping, self.spec.period_s)] if ping else []

    # --- the target's own words -----------------------------------------------------------------

    def on_notified(self, event: TargetNotified, now: float) -> list[Action]:
        """The target says something itself."""
        said, was_told = event.assignments, self.words.status
        actions = self.words.hear(event, now, may_extend=self.state is not State.ACTIVE)
        if event.dying:
            return actions
        if ("STOPPING", "1") in said:
            return actions + self.begin_stop("the target says so", now)
        if ("RELOADING", "1") in said and self.state in WATCHING:
            self.words.begin_reload()
            actions += self.reload.begin_by_target(self, now)
        if ("READY", "1") in said and self.state in (*WAITING, State.ACTIVE):
            self.words.is_ready, self.words.ready_at = True, now
            self.readiness.hear_word(is_ready=True)
        if self.state is State.ACTIVE and self.words.status != was_told:
            self.describe_active(now)
        elif self.state in WAITING:
            self.describe_waiting(now)
        elif self.state is State.STOPPING:
            self.status.wanted = with_words(self.doing, self.words.status)
        if self.state in WATCHING and self._may_pass_ping_on(now):
            actions += self._ping(now)
        return actions

    def _may_pass_ping_on(self, now: float) -> bool:
        """Has the last round passed, and not too long ago? Before the first one the ready probes
        stand for it."""
        fresh_s = self.spec.period_s + self.spec.timeout_s
        is_well = self.health.verdict is Verdict.HEALTHY or not self.health.streak
        is_fresh = now - self.health.passed_at <= fresh_s
        return is_well and is_fresh and self.words.is_worth_a_ping(self.last_ping, now)

    # --- stop -----------------------------------------------------------------------------------

    def begin_stop(self, why: str, now: float) -> list[Action]:
        """STOPPING=1: nothing is probed or pinged any more."""
        if self.state not in STOPPABLE:
            return []
        was_reloading = self.state is State.RELOADING
        actions: list[Action] = []
        if self.state is State.STARTING:  # systemd's patience was over, often: say with what
            self.cause = f"stopped before it was ready: {describe_missing(self.readiness, now)}"
            actions = [Say(Level.WARNING, self.cause)]
        self.state, self.deadline, self.is_seeking = State.STOPPING, None, False
        self.doing = self.cause or f"stopping: {why}"
        self.status.wanted = self.doing
        told = Notify((("STOPPING", "1"), *self.status.take(now)), None)
        ended: list[Action] = [ReloadEnded("it is being stopped")] if was_reloading else []
        if self.succession is not None:
            self.succession.limit(now)
        return [*actions, *self.readiness.close(), *self.health.close(), told, *ended]


LIVING = tuple(state for state in State if state is not State.ENDED)
# Pairs that are not here change nothing but what is due anyway: a Timer, or a sample that comes
# too late.
TRANSITIONS: dict[tuple[State, type], Callable[..., list[Action]]] = {
    **{(state, Sampled): Machine.on_sample for state in (*WAITING, *WATCHING)},
    **{(state, Signalled): on_signal for state in LIVING},
    **{(state, ReloadAsked): on_reload_asked for state in LIVING},
    **{(state, TargetNotified): Machine.on_notified for state in LIVING},
    **{(state, TargetExited): on_exit for state in LIVING},
    **{(state, Followed): on_followed for state in LIVING},
    **{(state, Abort): on_abort for state in LIVING if state is not State.ABORTING},
}
