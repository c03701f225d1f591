"""Decisions only: (state, event, now) -> actions. No clock, no I/O.

Times are seconds on CLOCK_MONOTONIC. The supervisor performs the actions in order, reports what
happened as the next
event, and sends a Timer when `next_deadline()` has come.
"""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, Enum
from notifywrap.policy.duration import format_duration
from notifywrap.policy.events import (
    Abort,
    Exit,
    Forward,
    Level,
    Notify,
    Sampled,
    Say,
    Signalled,
    Stop,
    TargetExited,
)
from notifywrap.policy.exits import FAILED, ExitStatus
from notifywrap.policy.health import Health, Verdict
from notifywrap.policy.readiness import Readiness
from notifywrap.policy.status import StatusLine, describe_active, describe_exit, describe_waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.events import Action, Event
    from notifywrap.policy.spec import Spec

__all__ = ["JOB_CONTROL", "TRANSITIONS", "Machine", "State"]

SIGABRT, SIGKILL, SIGTERM, SIGCONT, SIGSTOP = 6, 9, 15, 18, 19
# Passed on, and then the wrapper stops as well: a shell that stops its job means all of it.
JOB_CONTROL = (20, 21, 22)  # TSTP, TTIN, TTOU

# A target that is well and unwell by turns, one worker of two say, gets a pair of lines this often.
QUIET_S = 10.0


class State(Enum):
    """Where the service is; systemd's words where it has one."""

    STARTING = "starting"
    ACTIVE = "active"
    RELOADING = "reloading"
    STOPPING = "stopping"
    ABORTING = "aborting"  # notifywrap itself failed and stops the target
    ENDED = "ended"


WAITING = (State.STARTING, State.RELOADING)  # for the ready probes
WATCHING = (State.ACTIVE, State.RELOADING)  # with the live probes


class Machine:
    """One life of a target, from its start to its end."""

    def __init__(self, spec: Spec, now: float) -> None:
        self.spec = spec
        self.state = State.STARTING
        self.started = now
        self.attempts = 0
        self.readiness = self._expect_ready(now)
        grace_s = spec.watchdog_s or 0.0
        self.health = Health(spec.live, spec.period_s, spec.timeout_s, grace_s, self._number)
        self.verdict_said = Verdict.HEALTHY
        self.quiet_until = now
        self.status = StatusLine()
        self.ready_s = 0.0  # how long it took to become ready
        self.last_ping = now
        self.deadline: float | None = None  # of the reload, or of our patience while aborting
        self.said: set[str] = set()

    def start(self, now: float) -> list[Action]:
        """The first actions; call once, when the target has been started."""
        self.status.wanted = describe_waiting(self.readiness, now)
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
        moments = [self.status.next_deadline(), self.deadline]
        if self.state in WAITING:
            moments.append(self.readiness.next_deadline())
        if self.state in WATCHING:
            moments.append(self.health.next_deadline())
        return min((moment for moment in moments if moment is not None), default=None)

    def _number(self) -> int:
        self.attempts += 1
        return self.attempts

    def _expect_ready(self, now: float) -> Readiness:
        return Readiness(self.spec.ready, now, self.spec.ready_timeout_s, self._number)

    def _finish(self, actions: list[Action], now: float) -> list[Action]:
        """What every event ends with: deadlines that have come, attempts that are due, STATUS on
        change."""
        if self.deadline is not None and self.deadline <= now:
            actions += self._give_up(now)
        if self.state in WAITING:
            actions += self.readiness.open_due(now)
        if self.state in WATCHING:
            actions += self.health.open_due(now)
        due = self.status.next_deadline()
        if self.state is not State.ENDED and due is not None and due <= now:
            actions.append(Notify(self.status.take(now)))
        return actions

    def _give_up(self, now: float) -> list[Action]:
        self.deadline = None
        if self.state is State.RELOADING:
            return self._end_reload(now)
        return [Say(Level.WARNING, "the target did not stop in time, killing it"), Forward(SIGKILL)]

    # --- samples --------------------------------------------------------------------------------

    def on_sample(self, event: Sampled, now: float) -> list[Action]:
        """An attempt ended."""
        actions = self._say_once(event.sample.note)
        if self.health.owns(event.attempt):
            actions += self.health.record(event, now)
            return actions + (self._end_round(now) if self.health.round_is_over else [])
        if self.state not in WAITING:
            return actions
        actions += self.readiness.record(event.attempt, event.sample, now)
        if not self.readiness.is_done:
            doing = "starting" if self.state is State.STARTING else "reloading"
            self.status.wanted = describe_waiting(self.readiness, now, doing)
            return actions
        actions += self.readiness.close()
        return actions + (
            self._become_active(now) if self.state is State.STARTING else self._end_reload(now)
        )

    def _say_once(self, note: str) -> list[Action]:
        if not note or note in self.said:
            return []
        self.said.add(note)
        return [Say(Level.NOTICE, note)]

    def _become_active(self, now: float) -> list[Action]:
        self.state = State.ACTIVE
        self.ready_s = now - self.started
        self.health.begin(now)
        actions = self._tell_ready(now)
        return [Say(Level.INFO, self.status.sent), *actions]

    def _tell_ready(self, now: float) -> list[Action]:
        """READY=1, and with it the first ping: the ready probes are the evidence."""
        if self.readiness.discovery is not None:
            self.health.watch(self.readiness.probes)
        self.last_ping = now
        self.status.wanted = self._describe(now)
        ping = (("WATCHDOG", "1"),) if self.spec.watchdog_s is not None else ()
        return [Notify((("READY", "1"), *self.status.take(now), *ping), None)]

    def _describe(self, now: float) -> str:
        guessed = self.readiness.discovery is not None
        return describe_active(self.spec, self.health, self.ready_s, guessed, self.last_ping, now)

    def _end_round(self, now: float) -> list[Action]:
        actions: list[Action] = []
        verdict = self.health.verdict
        if self.spec.watchdog_s is not None and verdict in (Verdict.HEALTHY, Verdict.UNDECIDED):
            self.last_ping = now
            actions.append(Notify((("WATCHDOG", "1"),), self.spec.period_s))
        if self.state is State.ACTIVE:
            self.status.wanted = self._describe(now)
        if verdict is Verdict.HEALTHY and verdict is not self.verdict_said:
            self.verdict_said = verdict
            actions.append(Say(Level.NOTICE, "healthy again"))
        elif verdict is not self.verdict_said and now >= self.quiet_until:
            self.verdict_said, self.quiet_until = verdict, now + QUIET_S
            actions.append(Say(Level.WARNING, self._describe(now)))
        return actions

    # --- signals --------------------------------------------------------------------------------

    def on_signal(self, event: Signalled, now: float) -> list[Action]:
        """Every signal goes to the target; those that stop, reload or abort mean something to us
        as well."""
        signum, spec = event.signum, self.spec
        actions: list[Action] = []
        if signum == spec.stop_signal:
            actions = self._begin_stop(now)
        elif signum == spec.reload_signal:
            if not event.handled:
                name = spec.name_of(signum)
                text = f"the target has no handler for {name}: not sent to it"
                return [Say(Level.WARNING, text)]
            actions = self._begin_reload(now)
        elif signum == SIGABRT:
            silent = format_duration(now - self.last_ping)
            why = f" ({self.health.reason})" if self.health.reason else ""
            text = f"ABRT received, last ping {silent} ago{why}: passing it on to the target"
            actions = [Say(Level.ERROR, text)]
        actions.append(Forward(signum))
        if signum in (SIGTERM, SIGABRT, spec.stop_signal):
            # A stopped target acts on none of them, and KILL would have to do it.
            actions.append(Forward(SIGCONT))
        if signum in JOB_CONTROL:
            # In a session of its own the kernel spares the target the default action of these
            # three: nobody there could continue it. We can.
            actions += [Stop()] if event.handled else [Forward(SIGSTOP), Stop()]
        return actions

    def _begin_stop(self, now: float) -> list[Action]:
        if self.state not in (State.STARTING, State.ACTIVE, State.RELOADING):
            return []
        self.state, self.deadline = State.STOPPING, None
        self.status.wanted = (
            f"stopping: {self.spec.name_of(self.spec.stop_signal)} passed on to the target"
        )
        told = Notify((("STOPPING", "1"), *self.status.take(now)), None)
        return [*self.readiness.close(), *self.health.close(), told]

    def _begin_reload(self, now: float) -> list[Action]:
        if self.state not in WATCHING:
            return []
        self.state, self.deadline = State.RELOADING, now + self.spec.reload_timeout_s
        actions = self.readiness.close()
        self.readiness = self._expect_ready(now)
        self.status.wanted = "reloading"
        # Both in one datagram: systemd ignores RELOADING=1 without the time (sd_notify(3),
        # MONOTONIC_USEC=).
        stamp = (("RELOADING", "1"), ("MONOTONIC_USEC", str(int(now * 1e6))))
        return [*actions, Notify((*stamp, *self.status.take(now)), None)]

    def _end_reload(self, now: float) -> list[Action]:
        """READY=1 in either case: a reload that failed must not keep `systemctl reload` waiting."""
        self.state, self.deadline = State.ACTIVE, None
        actions = self.readiness.close()
        if self.readiness.is_done:
            return actions + self._tell_ready(now)
        after = format_duration(self.spec.reload_timeout_s)
        waiting = describe_waiting(self.readiness, now, "reloading")
        self.status.wanted = f"reload failed: not ready after {after}: {waiting}"
        told = Notify((("READY", "1"), *self.status.take(now)), None)  # no evidence, so no ping
        return [*actions, Say(Level.WARNING, self.status.sent), told]

    # --- ends -----------------------------------------------------------------------------------

    def on_exit(self, event: TargetExited, now: float) -> list[Action]:
        """The target has ended, so do we: with its status, or with ours if we had failed before."""
        was_ready = self.state is not State.STARTING
        was_wanted = self.state in (State.STOPPING, State.ABORTING)
        status = ExitStatus(FAILED) if self.state is State.ABORTING else event.status
        self.state = State.ENDED
        self.status.wanted = describe_exit(event.status, self.spec, was_ready or was_wanted)
        is_fine = was_wanted or event.status == ExitStatus(0)
        return [
            Notify(self.status.take(now)),
            Say(Level.INFO if is_fine else Level.WARNING, self.status.sent),
            Exit(status),
        ]

    def on_abort(self, event: Abort, now: float) -> list[Action]:
        """notifywrap itself cannot go on: nothing is left running behind it."""
        self.state, self.deadline = State.ABORTING, now + self.spec.kill_after_s
        self.status.wanted = f"notifywrap failed: {event.reason}; stopping the target"
        return [
            *self.readiness.close(),
            *self.health.close(),
            Say(Level.ERROR, self.status.wanted),
            Forward(SIGTERM),
            Forward(SIGCONT),
        ]


# Pairs that are not here change nothing but what is due anyway: a Timer, or a sample that comes
# too late.
TRANSITIONS: dict[tuple[State, type], Callable[..., list[Action]]] = {
    **{(state, Sampled): Machine.on_sample for state in (*WAITING, *WATCHING)},
    **{(state, Signalled): Machine.on_signal for state in State if state is not State.ENDED},
    **{(state, TargetExited): Machine.on_exit for state in State if state is not State.ENDED},
    **{
        (state, Abort): Machine.on_abort
        for state in State
        if state not in (State.ABORTING, State.ENDED)
    },
}
