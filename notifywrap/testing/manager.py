"""A stand-in for systemd: runs a command as a Type=notify service, with systemd's rules and timers.

For tests of daemons and of wrappers where no systemd is at hand, and for `notifywrap try`:

    with Manager(["./daemon"], watchdog_s=1.0) as unit:
        unit.wait_active(10)
        os.kill(unit.main_pid, signal.SIGSTOP)
        assert unit.wait_ended(10).result == "watchdog"

What systemd would decide is in `rules`, the processes are in `service`; here is what connects them.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import uuid
from typing import IO, TYPE_CHECKING

from notifywrap.errors import NotifyError
from notifywrap.policy.exits import from_wait
from notifywrap.protocol import wire
from notifywrap.testing.inbox import Inbox
from notifywrap.testing.rules import Unit
from notifywrap.testing.service import Exited, Service
from notifywrap.testing.states import Kill, KillMode, NotifyAccess, Result, Settings
from notifywrap.testing.timeline import (
    Event,
    ManagerError,
    Received,
    describe_end,
    signal_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Self

    from notifywrap.testing.service import Report
    from notifywrap.testing.states import Action, Sub

__all__ = ["Event", "Manager", "ManagerError", "Received"]

# systemd's own variables: what the caller's environment has of them is not for this service.
_OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "SYSTEMD_EXEC_PID", "INVOCATION_ID")


class Manager:
    """Runs one activation of *command*. The lengths and modes are those of `states.Settings`.

    env       the command's whole environment, None for ours; systemd's variables are replaced
    cwd       where the command runs
    stdout, stderr  as for subprocess.Popen; with PIPE, read from the attributes of that name
    abstract  NOTIFY_SOCKET in the abstract namespace instead of a path in a private directory
    on_event  called with each Event, from another thread: must not block nor call back

    It lives in a thread of its own; every attribute may be read at any time. `timeline`, `messages`
    and `pings` (moments of WATCHDOG=1 that counted, in seconds since start) only grow.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        watchdog_s: float | None = None,
        start_timeout_s: float = 90.0,
        stop_timeout_s: float = 90.0,
        abort_timeout_s: float | None = None,
        kill_mode: str = "control-group",
        notify_access: str = "main",
        notify_reload: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        abstract: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.command = tuple(command)
        self.settings = Settings(
            watchdog_s,
            start_timeout_s,
            stop_timeout_s,
            abort_timeout_s,
            next(mode for mode in KillMode if mode.value == kill_mode),
            next(access for access in NotifyAccess if access.value == notify_access),
            notify_reload,
        )
        self.timeline: list[Event] = []
        self.messages: list[Received] = []
        self.pings: list[float] = []
        self._env = os.environ if env is None else env
        self._cwd, self._stdout, self._stderr = cwd, stdout, stderr
        self._abstract = abstract
        self._on_event = on_event
        self._changed = threading.Condition()
        self._trouble = ""
        self._closing = False

    # --- life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Starts the command; returns as soon as its process exists."""
        with contextlib.ExitStack() as undo:
            self._inbox = Inbox(abstract=self._abstract)
            undo.callback(self._inbox.close)
            env, own_pid_in = self._environment(self._inbox.address)
            streams = {"stdout": self._stdout, "stderr": self._stderr}
            self._service = Service(self.command, env, own_pid_in, cwd=self._cwd, **streams)
            undo.pop_all()
        self.stdout, self.stderr = self._service.stdout, self._service.stderr
        self._unit = Unit(self.settings, self._service.pid, self._service.started_at)
        self._tell("started", " ".join(self.command), self._service.started_at, self.main_pid)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="notifywrap-manager", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it now, by SIGKILL where it has not ended by itself. Nothing is left running."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        try:
            self._service.close()
        finally:
            self._inbox.close()
            os.close(self._wake)

    # --- questions ----------------------------------------------------------------------------

    @property
    def main_pid(self) -> int:
        """The process that was started; it may have ended."""
        return self._service.pid

    @property
    def started_at(self) -> float:
        """When the command was started, on CLOCK_MONOTONIC."""
        return self._service.started_at

    @property
    def state(self) -> str:
        """activating, active, reloading, deactivating, inactive or failed: ActiveState."""
        with self._changed:
            return self._unit.active_state

    @property
    def sub(self) -> Sub:
        """SubState."""
        with self._changed:
            return self._unit.sub

    @property
    def status(self) -> str:
        """The STATUS text that `systemctl status` would show."""
        with self._changed:
            return self._unit.status

    @property
    def ready_s(self) -> float | None:
        """Seconds from start to READY=1; None as long as it was not said."""
        with self._changed:
            ready_at = self._unit.ready_at
            return None if ready_at is None else ready_at - self._unit.started_at

    @property
    def silence_s(self) -> float | None:
        """Seconds since the watchdog was last fed; None while it is off."""
        with self._changed:
            unit = self._unit
            if unit.watchdog_deadline is None or unit.armed_at is None:
                return None
            return time.monotonic() - unit.armed_at

    @property
    def largest_gap_s(self) -> float:
        """The longest time for which the watchdog was not fed while it was on, in seconds."""
        with self._changed:
            return self._unit.largest_gap_s

    @property
    def watchdog_fired(self) -> bool:
        """Whether systemd would have acted for want of a ping, or on WATCHDOG=trigger."""
        with self._changed:
            return any(event.what == "watchdog" for event in self.timeline)

    @property
    def ended(self) -> bool:
        """Whether it is over and no process is left."""
        with self._changed:
            return self._unit.ended or bool(self._trouble)

    @property
    def result(self) -> Result:
        """How it ended, or what is known of it so far."""
        with self._changed:
            return self._unit.outcome

    # --- waiting ------------------------------------------------------------------------------

    def wait_for(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Returns as soon as *condition* holds after an event.

        Raises ManagerError when that takes longer than *timeout_s*, or cannot come any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: condition() or self.ended, timeout_s)
            if not condition():
                why = self._trouble or (
                    f"it ended before ({self.result})" if self.ended else f"{timeout_s:g} s passed"
                )
                story = "\n".join(f"{e.at_s:9.3f} {e.what} {e.text}" for e in self.timeline)
                raise ManagerError(f"waited for {what}: {why}\n{story}")

    def wait_active(self, timeout_s: float) -> float:
        """Waits for READY=1; returns how long after the start it came, in seconds."""
        self.wait_for(lambda: self.ready_s is not None, timeout_s, "READY=1")
        return self.ready_s or 0.0

    def wait_ended(self, timeout_s: float) -> Result:
        """Waits until no process of the service is left."""
        self.wait_for(lambda: self._unit.ended, timeout_s, "the end")
        return self.result

    # --- what `systemctl` does ----------------------------------------------------------------

    def stop(self, timeout_s: float | None = None) -> Result | None:
        """`systemctl stop`; waits for the end when *timeout_s* is given, and returns how it was."""
        with self._changed:
            self._perform(self._unit.stop(time.monotonic()))
        os.eventfd_write(self._wake, 1)  # there is a new deadline
        return None if timeout_s is None else self.wait_ended(timeout_s)

    def reload(self, timeout_s: float) -> None:
        """`systemctl reload` of a Type=notify-reload service; returns when it runs again."""
        with self._changed:
            self._perform(self._unit.reload(time.monotonic()))
        os.eventfd_write(self._wake, 1)
        self.wait_for(lambda: self.state != "reloading", timeout_s, "the end of the reload")

    def kill(self, signum: int, *, everyone: bool = False) -> None:
        """`systemctl kill`: to the main process, or to every process of the service."""
        with self._changed:
            self._perform([Kill(signum, everyone)])

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        poll = select.poll()
        for source in (self._inbox, self._service, self._wake):
            poll.register(source, select.POLLIN)
        while not self._closing and not self.ended:
            with self._changed:
                # systemd's priorities: notifications before exits before timers, so that the last
                # words of the dead and a ping that is late by our own fault still count.
                self._take_messages()
                try:
                    self._take_reports(self._service.reports())
                except ChildProcessError as error:
                    self._trouble = str(error)
                    self._tell("ended", self._trouble, time.monotonic())
                now = time.monotonic()
                deadline = self._unit.next_deadline()
                if deadline is not None and now >= deadline:
                    self._perform(self._unit.on_timer(now))
                    deadline = self._unit.next_deadline()
                self._changed.notify_all()
            if not self.ended:
                poll.poll(_milliseconds(deadline))
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)

    def _take_messages(self) -> None:
        for pid, datagram in self._inbox.receive():
            now = time.monotonic()
            try:
                message = wire.parse(datagram)
            except NotifyError as error:
                self._tell("ignored", f"notification from process {pid}: {error}", now, pid)
                continue
            counted = self._unit.accepts(pid)
            self.messages.append(Received(now - self._unit.started_at, pid, message, counted))
            text = "  ".join(f"{key}={value}" for key, value in message.assignments)
            if counted and message.get("WATCHDOG") == "1":
                self.pings.append(now - self._unit.started_at)
            self._tell("notification", text, now, pid, message)
            self._perform(self._unit.on_message(message, pid, now))

    def _take_reports(self, reports: Iterable[Report]) -> None:
        for report in reports:
            now = time.monotonic()
            if not isinstance(report, Exited):
                self._perform(self._unit.on_empty(now))
                continue
            status, dumped = from_wait(report.status), os.WCOREDUMP(report.status)
            self._tell("exit", describe_end(status.code, status.signum, dumped), now, self.main_pid)
            self._perform(self._unit.on_exit(status, dumped, report.others_left, now))

    def _perform(self, actions: Iterable[Action]) -> None:
        now = time.monotonic()
        for action in actions:
            if isinstance(action, Kill):
                self._service.kill(action.signum, everyone=action.everyone)
                whom = "every process of the service" if action.everyone else "the main process"
                self._tell("signal", f"{signal_name(action.signum)} to {whom}", now)
            else:
                self._tell(action.what, action.text, now)

    def _tell(
        self, what: str, text: str, now: float, pid: int = 0, message: wire.Message | None = None
    ) -> None:
        event = Event(now - self._unit.started_at, what, text, pid, message)
        self.timeline.append(event)
        if self._on_event:
            self._on_event(event)

    def _environment(self, address: str) -> tuple[dict[str, str], list[str]]:
        """The command's variables, and the names of those that hold its own pid."""
        env = {key: value for key, value in self._env.items() if key not in _OWN}
        env |= {"NOTIFY_SOCKET": address, "INVOCATION_ID": uuid.uuid4().hex}
        if not self.settings.watchdog_s:
            return env, ["SYSTEMD_EXEC_PID"]
        env["WATCHDOG_USEC"] = wire.usec(self.settings.watchdog_s)
        return env, ["SYSTEMD_EXEC_PID", "WATCHDOG_PID"]


def _milliseconds(deadline: float | None) -> float | None:
    """How long to poll until *deadline*; rounded up, or the last millisecond would be spun away."""
    if deadline is None or deadline == float("inf"):
        return None
    return min(max(deadline - time.monotonic(), 0.0) * 1000 + 1, 1e9)
