"""What a reload does to the target, what must pass then, and how it fails."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import Level, Notify, ReloadEnded, Say
from notifywrap.policy.probe import (
    DiscoverProbe,
    ExecProbe,
    NotifyProbe,
    Probe,
    TakenProbe,
    explain,
    kind_of,
)
from notifywrap.policy.readiness import Gate, Readiness
from notifywrap.policy.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.events import Action
    from notifywrap.policy.machine import Machine
    from notifywrap.policy.spec import Spec

__all__ = ["Reload"]


class Reload:
    """Makes the Readiness of a start and of a reload.

    trouble  why the last reload failed; "" when it did not
    """

    def __init__(self, spec: Spec, number: Callable[[], int]) -> None:
        self.spec = spec
        self.number = number
        self.trouble = ""

    def expect_start(self, now: float, *, needs_word: bool) -> Readiness:
        """What must pass before the first READY=1."""
        return self._expect(self.spec.ready, now, None, needs_word=needs_word)

    def begin(self, machine: Machine, signum: int, now: float) -> list[Action]:
        """Reload by *signum*, or by the command where one is given."""
        gate: Gate | None = None
        if self.spec.reload_command:
            text = f"--reload exec:{' '.join(self.spec.reload_command)}"
            command = ExecProbe(text, self.spec.reload_command)
            gate = Gate(command, self.spec.reload_timeout_s)
        elif signum:
            # Until it has taken the signal its old self would answer the probes.
            taken = TakenProbe(f"the target to take {self.spec.name_of(signum)}", signum)
            gate = Gate(taken, self.spec.ready_timeout_s)
        return self._begin(machine, gate, now, needs_word=False)

    def begin_by_target(self, machine: Machine, now: float) -> list[Action]:
        """The target says RELOADING=1: its READY=1 is needed then."""
        if machine.state is State.RELOADING:  # it is what we asked for
            machine.readiness.await_word(now)
            machine.readiness.hear_word(is_ready=False)
            return []
        return self._begin(machine, None, now, needs_word=True)

    def _begin(
        self, machine: Machine, gate: Gate | None, now: float, *, needs_word: bool
    ) -> list[Action]:
        # Sockets are looked for again, but not where its own word had made it ready without any. A
        # line that was logged, or a descriptor that was closed, does not come a second time.
        had_sockets = len(machine.health.probes) > 1 or machine.is_seeking
        again = tuple(
            probe
            for probe in self.spec.ready
            if (kind_of(probe).repeatable and type(probe) is not NotifyProbe)
            or (type(probe) is DiscoverProbe and had_sockets)
        )
        machine.state, machine.deadline = State.RELOADING, now + self.spec.reload_timeout_s
        machine.is_seeking = False
        actions = machine.readiness.close()
        machine.readiness = self._expect(again, now, gate, needs_word=needs_word)
        machine.status.wanted = "reloading"
        # Both in one datagram: systemd ignores RELOADING=1 without the time (sd_notify(3),
        # MONOTONIC_USEC=).
        stamp = (("RELOADING", "1"), ("MONOTONIC_USEC", str(int(now * 1e6))))
        return [*actions, Notify((*stamp, *machine.status.take(now)), None)]

    def end(self, machine: Machine, why: str, now: float) -> list[Action]:
        """READY=1 in either case: a reload that failed must not keep systemd waiting.

        why  what went wrong; "" when the target is ready again
        """
        machine.state, machine.deadline, self.trouble = State.ACTIVE, None, why
        actions = machine.readiness.close()
        if why:
            actions.append(Say(Level.WARNING, f"reload failed: {why}"))
        may_ping = machine.words.lets_ping()
        told = machine.tell_ready(now, has_passed=not why, may_ping=may_ping)
        return [*actions, *told, ReloadEnded(why)]

    def _expect(
        self, probes: tuple[Probe, ...], now: float, gate: Gate | None, *, needs_word: bool
    ) -> Readiness:
        spec = self.spec
        timeout_s = spec.ready_timeout_s
        readiness = Readiness(probes, now, timeout_s, self.number, spec.stable_for_s, gate)
        if needs_word:
            readiness.await_word(now)
        return readiness

    def find_failure(self, readiness: Readiness) -> str:
        """Why this reload can come to nothing any more; "" while it still may."""
        gate = readiness.gate
        if gate is None or gate.passed or gate.attempt or type(gate.probe) is not ExecProbe:
            return ""
        return explain(gate.probe, gate.reason)  # the command was run, once
