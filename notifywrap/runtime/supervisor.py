"""Joins the machine to the world: events in, actions out. Performs and never decides."""

from __future__ import annotations

import select
import time

from notifywrap.errors import find_place
from notifywrap.lean import TYPE_CHECKING, os, signal
from notifywrap.policy.events import (
    Abort,
    CloseAttempt,
    Discard,
    Exit,
    Follow,
    Forward,
    Level,
    Notify,
    OpenAttempt,
    ReloadAsked,
    ReloadEnded,
    Say,
    Signalled,
    Stop,
    TargetExited,
    TargetNotified,
    Timer,
)
from notifywrap.policy.exits import FAILED, ExitStatus, from_wait
from notifywrap.policy.machine import Machine
from notifywrap.policy.signalling import JOB_CONTROL, RELOAD
from notifywrap.runtime.attempts import Attempts
from notifywrap.runtime.loop import Loop
from notifywrap.runtime.outbox import Outbox, close_all
from notifywrap.runtime.process import pass_terminal
from notifywrap.runtime.signals import is_handled_by

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from notifywrap.policy.events import Action, Event
    from notifywrap.policy.spec import Spec
    from notifywrap.probes.target import Target
    from notifywrap.protocol.notify import Notifier
    from notifywrap.runtime.loop import Part
    from notifywrap.runtime.signals import SignalPipe

__all__ = ["Supervisor"]


class Supervisor:
    """Looks after one running target until it ends.

    say       writes a line to the journal
    parts     what the options in use add to the loop
    terminal  fd of the terminal that the target is in front of, None when there is none
    """

    def __init__(
        self,
        spec: Spec,
        target: Target,
        signals: SignalPipe,
        notifier: Notifier | None,
        say: Callable[[Level, str], None],
        parts: Sequence[Part] = (),
        terminal: int | None = None,
    ) -> None:
        self._spec = spec
        self._target = target
        self._pid = target.pid
        self._signals = signals
        self._say = say
        self._parts = parts
        self._terminal = terminal
        self._loop = Loop()
        self._outbox = Outbox(notifier)
        self._attempts = Attempts(self._loop, target, self._put)
        self._machine = Machine(spec, time.monotonic())
        self._events: list[Event] = []
        self._status: ExitStatus | None = None
        self._reaped = False
        self._due: float | None = None  # the machine's next deadline: only an event changes it
        self._is_crowded = False  # does so much wait for systemd that the parts were told?

    def run(self) -> ExitStatus:
        """Work until the target has ended; returns how. Nothing of the target is left running."""
        try:
            self._loop.watch(self._signals.fileno(), select.POLLIN, self._take_signals)
            for part in self._parts:
                part.attach(self._loop, self._put, self._target)
            self._perform(self._machine.start(time.monotonic()))
            self._due = self._machine.next_deadline()
            self._drain()
            while self._status is None:
                self._turn()
        except Exception as error:  # noqa: BLE001 - a bug of ours: stop the target in good order
            text = f"internal error, please report it: {error!r} at {find_place(error)}"
            self._say(Level.ERROR, text)
            return self._stop_target(repr(error))
        finally:
            self._attempts.close_all()
            for part in self._parts:
                part.close()
            self._outbox.close()
            if not self._reaped:  # only on the way out through something like SystemExit
                os.kill(self._pid, signal.SIGKILL)
        return self._status

    def _turn(self) -> None:
        due = self._due
        late_s = self._loop.wait(self._next_deadline(due))
        now = time.monotonic()
        self._attempts.wake(now, late_s)
        retry_at = self._outbox.next_deadline()
        if retry_at is not None and retry_at <= now:
            self._outbox.flush(now)
        if due is not None and due <= now:
            self._events.append(Timer())
        for part in self._parts:
            part.wake(now)
        self._drain(is_quiet=late_s > 0.0)  # a child that ends is heard of by a descriptor
        if self._outbox.is_crowded is not self._is_crowded:
            self._is_crowded = not self._is_crowded
            for part in self._parts:
                part.hold(is_crowded=self._is_crowded)

    def _next_deadline(self, due: float | None) -> float | None:
        moments = [due, self._attempts.next_deadline(), self._outbox.next_deadline()]
        moments += [part.next_deadline() for part in self._parts]
        return min((moment for moment in moments if moment is not None), default=None)

    def _put(self, event: Event) -> None:
        self._events.append(event)

    def _drain(self, *, is_quiet: bool = False) -> None:
        """Hand every event to the machine, those too that performing its actions brings about.

        The target's end goes first: what its probes found a moment ago must not make a dead target
        ready.

        is_quiet  nothing has happened but that a moment has come
        """
        if self._events or not is_quiet:
            self._reap()
        while self._events and self._status is None:
            self._perform(self._machine.handle(self._events.pop(0), time.monotonic()))
            self._due = self._machine.next_deadline()

    # --- events ---------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        for signum in self._signals.read():
            if signum == signal.SIGCHLD:
                continue
            if signum == signal.SIGCONT:
                self._lend_terminal()
            asks = signum == RELOAD or signum in JOB_CONTROL
            handled = not asks or is_handled_by(self._pid, self._spec.sent_for(signum))
            self._put(Signalled(signum, handled))

    def _reap(self) -> None:
        """The one place that waits for children: the target, exec probes, and orphans of the
        target's tree."""
        flags = os.WNOHANG | (os.WUNTRACED if self._terminal is not None else 0)
        while True:
            try:
                pid, status = os.waitpid(-1, flags)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid != self._pid:
                self._attempts.reaped(pid, status)
            elif os.WIFSTOPPED(status):
                self._yield_terminal()
            else:
                self._reaped = True
                self._end_target(from_wait(status))

    def _end_target(self, status: ExitStatus) -> None:
        """Its end goes before all events but for what it said before: that may tell why."""
        for part in self._parts:
            part.drain()
        told = [event for event in self._events if type(event) is TargetNotified]
        last_words = [event._replace(dying=True) for event in told]
        rest = [event for event in self._events if type(event) is not TargetNotified]
        self._events = [*last_words, TargetExited(status), *rest]

    def _yield_terminal(self) -> None:
        """The terminal stopped the target (^Z): stop too, so that the shell is back, and go on
        with it."""
        assert self._terminal is not None, "without a terminal nobody waits for stops"
        pass_terminal(self._terminal, self._pid, os.getpgrp())
        os.kill(os.getpid(), signal.SIGSTOP)
        self._lend_terminal()
        self._kill(signal.SIGCONT)

    def _lend_terminal(self) -> None:
        """Put the target in front if we are: after `fg`, not after `bg`."""
        if self._terminal is not None:
            pass_terminal(self._terminal, os.getpgrp(), self._pid)

    # --- actions --------------------------------------------------------------------------------

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            _PERFORM[type(action)](self, action)
        if self._outbox.trouble:
            self._say(Level.WARNING, self._outbox.trouble)
            self._outbox.trouble = ""

    def _open(self, action: OpenAttempt) -> None:
        self._attempts.open(action, time.monotonic())

    def _close(self, action: CloseAttempt) -> None:
        self._attempts.close(action.attempt)

    def _notify(self, action: Notify) -> None:
        self._outbox.put(action, time.monotonic())
        if action.lasts_s is None:  # the state has changed: what was remembered for the last one
            self._target.relax()  # is memory that may go back

    def _discard(self, action: Discard) -> None:
        close_all(action.fds)

    def _follow(self, _: Follow) -> None:
        raise AssertionError("without a pid file nobody is followed")

    def _answer(self, action: ReloadEnded) -> None:
        unheard = sum(type(event) is ReloadAsked for event in self._events)
        for part in self._parts:
            part.answer(action.why, unheard)

    def _forward(self, action: Forward) -> None:
        self._kill(action.signum)

    def _kill(self, signum: int) -> None:
        if self._reaped:
            return  # its pid may be somebody else's by now
        try:
            os.kill(self._pid, signum)
        except PermissionError:
            self._say(
                Level.WARNING,
                f"cannot send {self._spec.name_of(signum)}: the target changed its user",
            )

    def _stop(self, _: Stop) -> None:
        if self._terminal is None:  # else we follow the target when it stops: it may not want to
            os.kill(os.getpid(), signal.SIGSTOP)

    def _write(self, action: Say) -> None:
        self._say(action.level, action.text)

    def _exit(self, action: Exit) -> None:
        self._status = action.status
        if self._terminal is not None:
            pass_terminal(self._terminal, self._pid, os.getpgrp())

    # --- when we cannot go on -------------------------------------------------------------------

    def _stop_target(self, reason: str) -> ExitStatus:
        """Stop the target with the machine's help; the machine's own failure leaves KILL."""
        self._attempts.close_all()
        # The target's end is told once only: what has been reaped cannot be waited for again.
        ends = [event for event in self._events if type(event) is TargetExited]
        for event in self._events:
            if type(event) is TargetNotified:
                close_all(event.fds)
        self._events = [Abort(reason), *ends]
        try:
            self._drain()
            while self._status is None and not self._reaped:
                self._turn()
        except Exception as error:  # noqa: BLE001 - and the machine's own
            self._say(Level.ERROR, f"killing the target: {error!r}")
            self._kill(signal.SIGKILL)
            if not self._reaped:
                os.waitpid(self._pid, 0)
                self._reaped = True
        return self._status or ExitStatus(FAILED)


_PERFORM: dict[type, Callable[..., None]] = {
    OpenAttempt: Supervisor._open,
    CloseAttempt: Supervisor._close,
    Notify: Supervisor._notify,
    Discard: Supervisor._discard,
    Follow: lambda self, action: self._follow(action),  # a Follower does
    ReloadEnded: Supervisor._answer,
    Forward: Supervisor._forward,
    Stop: Supervisor._stop,
    Say: Supervisor._write,
    Exit: Supervisor._exit,
}
