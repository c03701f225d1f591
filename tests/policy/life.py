"""A life of the machine in virtual time: a history in, what systemd and the target saw out."""

from __future__ import annotations

from notifywrap.policy.events import (
    Action,
    Event,
    Exit,
    Forward,
    Notify,
    OpenAttempt,
    Outcome,
    ReloadEnded,
    Sample,
    Sampled,
    Say,
    Signalled,
    TargetExited,
    TargetNotified,
    Timer,
)
from notifywrap.policy.exits import ExitStatus
from notifywrap.policy.machine import Machine
from notifywrap.policy.probe import AliveProbe, Probe, TcpProbe
from notifywrap.policy.spec import Spec

TCP = TcpProbe("tcp:80", (("127.0.0.1", 80),))
PASS = Sample(Outcome.PASSED)
FAIL = Sample(Outcome.FAILED, "connection refused")
LATE = Sample(Outcome.TIMED_OUT, "not accepted")
BROKEN = Sample(Outcome.BROKEN, "too many open files")
HUP, ABRT, KILL, TERM, CONT, TSTP = 1, 6, 9, 15, 18, 20


class Life:
    """Plays events into a machine at moments of a virtual clock and keeps all that came out."""

    def __init__(self, spec: Spec | None = None, **changes: object) -> None:
        base = spec or Spec(
            ("target",), (TCP,), (TCP,), watchdog_s=4.0, period_s=1.0, timeout_s=1.0,
            signal_names={1: "HUP", 3: "QUIT", 6: "ABRT", 15: "TERM"},
        )  # fmt: skip
        self.spec = base._replace(**changes)
        self.now = 100.0
        self.machine = Machine(self.spec, self.now)
        self.log: list[tuple[float, Action]] = []
        self.open: dict[int, Probe] = {}
        self._take(self.machine.start(self.now))

    def _take(self, actions: list[Action]) -> None:
        for action in actions:
            self.log.append((self.now, action))
            if isinstance(action, OpenAttempt):
                self.open[action.attempt] = action.probe
            elif type(action).__name__ == "CloseAttempt":
                del self.open[action.attempt]

    def play(self, event: Event, after_s: float = 0.0) -> Life:
        """*event*, *after_s* seconds later.

        Timers that are due before it come first, as the loop does it.
        """
        until = self.now + after_s
        while (due := self.machine.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self._take(self.machine.handle(Timer(), self.now))
        self.now = until
        self._take(self.machine.handle(event, self.now))
        return self

    def wait(self, length_s: float) -> Life:
        """Let time pass; attempts in flight stay in flight."""
        return self.play(Timer(), length_s)

    def sample(self, sample: Sample, after_s: float = 0.0, excuse: str = "") -> Life:
        """Every attempt in flight ends with *sample*, but for `alive`, which passes."""
        self.wait(after_s)
        for attempt, probe in list(self.open.items()):
            if attempt in self.open:
                del self.open[attempt]
                alive = isinstance(probe, AliveProbe)
                self.play(Sampled(attempt, PASS if alive else sample, "" if alive else excuse))
        return self

    def end_attempt(self, attempt: int, sample: Sample) -> Life:
        """One attempt in flight ends."""
        del self.open[attempt]
        return self.play(Sampled(attempt, sample))

    def ready(self) -> Life:
        """The ready probes pass, and before them what a reload waits for first."""
        gate = self.machine.readiness.gate
        return self.sample(PASS).sample(PASS) if gate and not gate.passed else self.sample(PASS)

    def rounds(self, *samples: Sample, excuse: str = "") -> Life:
        """One live round for each sample, a period apart."""
        for sample in samples:
            self.sample(sample, self.spec.period_s, excuse)
        return self

    def signal(self, signum: int, handled: bool = True) -> Life:
        """A signal for the wrapper."""
        return self.play(Signalled(signum, handled))

    def exit(self, code: int = 0, signum: int = 0, heirs: bool = False) -> Life:
        """The target ends; *heirs*: and leaves others of its tree behind."""
        return self.play(TargetExited(ExitStatus(code, signum), heirs))

    def says(self, *lines: str, fds: tuple[int, ...] = (), dying: bool = False) -> Life:
        """The target sends an sd_notify message of its own."""
        pairs = tuple((key, value) for key, _, value in (line.partition("=") for line in lines))
        return self.play(TargetNotified(pairs, fds, dying))

    # --- what came out
    # --------------------------------------------------------------------------------

    def told(self, key: str) -> list[str]:
        """Every value that systemd was told for *key*."""
        return [
            v for _, a in self.log if isinstance(a, Notify) for k, v in a.assignments if k == key
        ]

    def told_keys(self) -> list[str]:
        """The keys systemd was told, in order, STATUS left out."""
        sent = [k for _, a in self.log if isinstance(a, Notify) for k, _ in a.assignments]
        return [key for key in sent if key not in ("STATUS", "MONOTONIC_USEC")]

    def pings(self) -> list[float]:
        """When WATCHDOG=1 was sent."""
        return [
            now
            for now, a in self.log
            if isinstance(a, Notify) and ("WATCHDOG", "1") in a.assignments
        ]

    def forwarded(self) -> list[int]:
        """The signals that the target was sent."""
        return [a.signum for _, a in self.log if isinstance(a, Forward)]

    def exits(self) -> list[ExitStatus]:
        """How the wrapper ended: once, at most."""
        return [a.status for _, a in self.log if isinstance(a, Exit)]

    def said(self) -> list[str]:
        """The journal."""
        return [a.text for _, a in self.log if isinstance(a, Say)]

    def reloads(self) -> list[str]:
        """How each reload ended: "" or why it failed."""
        return [a.why for _, a in self.log if isinstance(a, ReloadEnded)]
