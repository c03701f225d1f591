"""What a signal, or `notifywrap reload`, leads to.

Every signal goes to the target, or in its place what --map-signal and --reload say; those that
stop, reload or abort mean something to us as well.
"""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.duration import format_duration
from notifywrap.policy.events import Forward, Level, ReloadEnded, Say, Stop
from notifywrap.policy.state import WATCHING

if TYPE_CHECKING:
    from notifywrap.policy.events import Action, ReloadAsked, Signalled
    from notifywrap.policy.machine import Machine
    from notifywrap.policy.spec import Spec

__all__ = ["JOB_CONTROL", "RELOAD", "forward_abort", "forward_stop", "on_reload_asked", "on_signal"]

SIGABRT, SIGTERM, SIGCONT, SIGSTOP = 6, 15, 18, 19
RELOAD = 1  # HUP: what systemd sends for a reload, unless the unit says otherwise (ReloadSignal=)
# Passed on, and then the wrapper stops as well: a shell that stops its job means all of it.
JOB_CONTROL = (20, 21, 22)  # TSTP, TTIN, TTOU
# systemd may have sent the target one of its own (KillMode=control-group), and a second one would
# end it in the middle of its stack trace.
ABORT_LATER_S = 0.05


def on_signal(machine: Machine, event: Signalled, now: float) -> list[Action]:
    """A signal came for the wrapper."""
    signum, spec = event.signum, machine.spec
    if signum == RELOAD and signum != spec.stop_signal:
        return _reload(machine, event.handled, now)
    actions: list[Action] = []
    if signum == spec.stop_signal:
        actions = machine.begin_stop(_describe_passing(spec, signum), now)
    elif signum == SIGABRT:
        silent = format_duration(now - machine.last_ping)
        why = f" ({machine.health.reason})" if machine.health.reason else ""
        text = f"ABRT received, last ping {silent} ago{why}: passing it on to the target"
        actions = [Say(Level.ERROR, text)]
    if signum == SIGABRT:
        is_first = machine.abort_at is None
        machine.abort_at = now + ABORT_LATER_S if is_first else None
        if is_first:
            return actions
    actions += _forward(machine, spec.sent_for(signum))
    if signum in (SIGTERM, SIGABRT, spec.stop_signal):
        # A stopped target acts on none of them, and KILL would have to do it.
        actions += _forward(machine, SIGCONT)
    if signum in JOB_CONTROL and spec.sent_for(signum):
        # In a session of its own the kernel spares the target the default action of these
        # three: nobody there could continue it. We can.
        actions += [Stop()] if event.handled else [Forward(SIGSTOP), Stop()]
    return actions


def forward_abort(machine: Machine) -> list[Action]:
    """The time is over that was left to an ABRT of the target's own."""
    machine.abort_at = None
    return [*_forward(machine, machine.spec.sent_for(SIGABRT)), *_forward(machine, SIGCONT)]


def _describe_passing(spec: Spec, signum: int) -> str:
    name, sent = spec.name_of(signum), spec.sent_for(signum)
    if sent == signum:
        return f"{name} passed on to the target"
    if sent == 0:
        return f"{name} came, and is not passed on (--map-signal)"
    return f"{name} passed on to the target as {spec.name_of(sent)}"


def on_reload_asked(machine: Machine, event: ReloadAsked, now: float) -> list[Action]:
    """`notifywrap reload` asks; whatever comes of it, it is answered."""
    if machine.state not in WATCHING:
        return [ReloadEnded(f"the service is {machine.state.value}")]
    return _reload(machine, event.handled, now)


def _reload(machine: Machine, handled: bool, now: float) -> list[Action]:
    spec = machine.spec
    signum = spec.sent_for(RELOAD)
    if spec.reload_command:
        if machine.state in WATCHING:
            return machine.reload.begin(machine, 0, now)
        text = f"the service is {machine.state.value}: --reload exec: is not run"
        return [Say(Level.WARNING, text)]
    if not handled:
        text = f"the target has no handler for {spec.name_of(signum)}: not sent to it"
        return [Say(Level.WARNING, text), ReloadEnded(text)]
    actions = machine.reload.begin(machine, signum, now) if machine.state in WATCHING else []
    return actions + _forward(machine, signum)


def _forward(machine: Machine, signum: int) -> list[Action]:
    """Send *signum* to the target; 0 for nothing. While nobody is followed it waits for the
    successor."""
    if signum == 0:
        return []
    if machine.succession is not None:
        machine.succession.unsent.append(signum)
        return []
    return [Forward(signum)]


def forward_stop(machine: Machine) -> list[Action]:
    """Ask the target to end, because we want it to."""
    signum = machine.spec.sent_for(SIGTERM) or SIGTERM  # swallowed ones would leave it to KILL
    return [*_forward(machine, signum), *_forward(machine, SIGCONT)]
