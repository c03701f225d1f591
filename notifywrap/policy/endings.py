"""How it ends: with the target's end, with nobody who succeeds it, or because we give it up."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import (
    Exit,
    Follow,
    Forward,
    Level,
    Notify,
    ReloadEnded,
    Say,
    TargetExited,
)
from notifywrap.policy.exits import FAILED, ExitStatus
from notifywrap.policy.signalling import forward_stop
from notifywrap.policy.state import STOPPABLE, WAITING, State
from notifywrap.policy.status import describe_exit
from notifywrap.policy.succession import Succession

if TYPE_CHECKING:
    from notifywrap.policy.events import Abort, Action, Followed
    from notifywrap.policy.machine import Machine

__all__ = ["abort", "look_for_successor", "on_abort", "on_exit", "on_followed"]


def on_exit(machine: Machine, event: TargetExited, now: float) -> list[Action]:
    """The target has ended, and so do we: with its status, or with ours if we had failed before.
    With a pid file somebody may succeed it."""
    spec = machine.spec
    if machine.succession is not None:
        event = TargetExited(machine.succession.status)  # the last of its tree has ended as well
    elif event.heirs and spec.pidfile and machine.state in STOPPABLE:
        return _begin_succession(machine, event, now)
    was_ready = machine.state is not State.STARTING
    was_wanted = machine.state in (State.STOPPING, State.ABORTING)
    status = ExitStatus(FAILED) if machine.state is State.ABORTING else event.status
    was_reloading = machine.state is State.RELOADING
    machine.state, machine.succession = State.ENDED, None
    machine.deadline = machine.abort_at = None  # nobody is left to be sent anything
    how = describe_exit(event.status, spec, was_ready or was_wanted)
    words = machine.words.status
    words = f"; its last status: {words}" if words else ""
    # The last STATUS is all that `systemctl status` shows of a service that has failed.
    machine.status.wanted = f"{how}{_cause(machine)}{words}"
    is_fine = was_wanted or event.status == ExitStatus(0)
    ended: list[Action] = [ReloadEnded(how)] if was_reloading else []
    return [
        *ended,
        Notify(machine.status.take(now)),
        Say(Level.INFO if is_fine else Level.WARNING, how + words),
        Exit(status),
    ]


def _cause(machine: Machine) -> str:
    """What was wrong before, for the STATUS that stays."""
    health = machine.health
    # A single failed round may be its end itself, seen a moment before we hear of it.
    if not machine.cause and health.reason and health.streak > 1:
        return f"; it was {health.verdict.value}: {health.reason}"
    return f"; {machine.cause}" if machine.cause else ""


def _begin_succession(machine: Machine, event: TargetExited, now: float) -> list[Action]:
    machine.succession = Succession(event.status, now)
    if machine.state is not State.STARTING:
        machine.succession.limit(now)
    how = describe_exit(event.status, machine.spec, was_ready=True)
    machine.is_seeking = False
    machine.status.wanted = f"{how}; waiting for {machine.spec.pidfile} to name its successor"
    return [*machine.readiness.close(), *machine.health.close()]


def look_for_successor(machine: Machine, succession: Succession, now: float) -> list[Action]:
    """Nobody is followed: look for a successor, but not for ever."""
    if succession.is_over(now):
        text = f"{machine.spec.pidfile} names no successor"
        return [Say(Level.WARNING, text), *on_exit(machine, TargetExited(succession.status), now)]
    return [Follow()] if succession.is_due(now) else []


def on_followed(machine: Machine, event: Followed, now: float) -> list[Action]:
    """The pid file names a successor: it gets what came meanwhile, and is watched."""
    if machine.succession is None:
        return []
    unsent, machine.succession = machine.succession.unsent, None
    if machine.state is State.ACTIVE:
        machine.health.next_round_at = now
        machine.describe_active(now)
    elif machine.state in WAITING:
        machine.describe_waiting(now)
    text = f"following process {event.pid}, named by {machine.spec.pidfile}"
    return [Say(Level.INFO, text), *[Forward(signum) for signum in unsent]]


def on_abort(machine: Machine, event: Abort, now: float) -> list[Action]:
    """notifywrap itself cannot go on: nothing is left running behind it."""
    return abort(machine, f"notifywrap failed: {event.reason}; stopping the target", now)


def abort(machine: Machine, text: str, now: float) -> list[Action]:
    """Stop the target and end with 125; *text* says why."""
    was_reloading = machine.state is State.RELOADING
    machine.state, machine.deadline = State.ABORTING, now + machine.spec.kill_after_s
    machine.is_seeking = False
    machine.status.wanted = machine.cause = text
    ended: list[Action] = [ReloadEnded(text)] if was_reloading else []
    if machine.succession is not None:
        machine.succession.limit(now, 0.0)
    return [
        *machine.readiness.close(),
        *machine.health.close(),
        Say(Level.ERROR, text),
        *ended,
        *forward_stop(machine),
    ]
