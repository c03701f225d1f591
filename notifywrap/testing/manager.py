"""A stand-in for systemd: runs a command as a Type=notify service, with systemd's rules and timers.

For tests of daemons and of wrappers where no systemd is at hand, and for `notifywrap try`:

    with Manager(["./daemon"], watchdog_s=1.0) as unit:
        unit.wait_ready(10)
        os.kill(unit.main_pid, signal.SIGSTOP)
        assert unit.wait_ended(10).result == "watchdog"

Without a command this very process is the service, for code that is tested where the test runs:

    with Manager(watchdog_s=1.0) as unit:
        begin()                                         # it calls notifywrap.ready("serving")
        assert unit.status == "serving"

What systemd would decide is in `rules`, the processes are in `service` and `ownprocess`, what is
known of it is in `story`; here is what connects them.
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
from notifywrap.testing.states import Kill, KillMode, NotifyAccess, Settings
from notifywrap.testing.story import Story
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

    from notifywrap.testing.ownprocess import OwnProcess
    from notifywrap.testing.service import Report
    from notifywrap.testing.states import Action, Result

__all__ = ["Event", "Manager", "ManagerError", "Received"]

# systemd's own variables: what the caller's environment has of them is not for this service.
_OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "SYSTEMD_EXEC_PID", "INVOCATION_ID")


class Manager(Story):
    """Runs one activation of *command*. The lengths and modes are those of `states.Settings`.

    command   None: this process is the service until close(). os.environ has systemd's variables
              for so long, and a signal is sent where the code under test has a handler for it. Its
              watchdog can fire, but it does not end. One such Manager at a time
    env       the command's whole environment, None for ours; systemd's variables are replaced
    cwd       where the command runs
    stdout, stderr  as for subprocess.Popen; with PIPE, read from the attributes of that name
    abstract  NOTIFY_SOCKET in the abstract namespace instead of a path in a private directory
    on_event  called with each Event, from any thread: must not block nor call back

    It lives in a thread of its own.
    """

    _service: Service | OwnProcess

    def __init__(
        self,
        command: Sequence[str] | None = None,
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
        super().__init__()
        if command is None and any(given is not None for given in (env, cwd, stdout, stderr)):
            raise TypeError("env, cwd, stdout and stderr are for a command, and there is none")
        self.command = None if command is None else tuple(command)
        self.name = "the test's own process" if command is None else " ".join(command)
        self.settings = Settings(
            watchdog_s,
            start_timeout_s,
            stop_timeout_s,
            abort_timeout_s,
            next(mode for mode in KillMode if mode.value == kill_mode),
            next(access for access in NotifyAccess if access.value == notify_access),
            notify_reload,
        )
        self._env = os.environ if env is None else env
        self._cwd, self._stdout, self._stderr = cwd, stdout, stderr
        self._abstract = abstract
        self._on_event = on_event
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
            self._service = self._open_service(self._inbox.address)
            undo.pop_all()
        self.stdout, self.stderr = self._service.stdout, self._service.stderr
        self._unit = Unit(self.settings, self._service.pid, self._service.started_at)
        self._tell("started", self.name, self._service.started_at, self.main_pid)
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

    @property
    def main_pid(self) -> int:
        """The process that was started; it may have ended."""
        return self._service.pid

    @property
    def started_at(self) -> float:
        """When the command was started, on CLOCK_MONOTONIC."""
        return self._service.started_at

    # --- what `systemctl` does ----------------------------------------------------------------

    def stop(self, timeout_s: float | None = None) -> Result | None:
        """`systemctl stop`; waits for the end when *timeout_s* is given, and returns how it was."""
        self._order(lambda: self._unit.stop(time.monotonic()))
        return None if timeout_s is None else self.wait_ended(timeout_s)

    def reload(self, timeout_s: float) -> None:
        """`systemctl reload` of a Type=notify-reload service; returns when it runs again."""
        self._order(lambda: self._unit.reload(time.monotonic()))
        self.wait_for(lambda: self.state != "reloading", timeout_s, "the end of the reload")

    def kill(self, signum: int, *, everyone: bool = False) -> None:
        """`systemctl kill`: to the main process, or to every process of the service."""
        self._order(lambda: [Kill(signum, everyone)])

    def _order(self, decide: Callable[[], list[Action]]) -> None:
        if self._closing:
            raise ManagerError("the manager is closed")
        try:
            with self._changed:
                self._catch_up()  # what was said before comes before
                self._perform(decide())
        finally:  # a handler in this process may raise
            self._wake_up()

    def wait_ended(self, timeout_s: float) -> Result:
        """Waits until no process of the service is left."""
        __tracebackhide__ = True
        if self.command is None:
            raise ManagerError("waited for the end: the service is the test's own process")
        return super().wait_ended(timeout_s)

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

    def _wake_up(self) -> None:
        """There may be a new deadline, and for those who wait new events."""
        os.eventfd_write(self._wake, 1)

    def _catch_up(self) -> None:
        if not self._closing and not self.ended and self._take_messages():
            self._wake_up()

    def _take_messages(self) -> bool:
        received = self._inbox.receive()
        for pid, datagram in received:
            now = time.monotonic()
            try:
                message = wire.parse(datagram)
            except NotifyError as error:
                self._tell("ignored", f"notification from process {pid}: {error}", now, pid)
                continue
            counted = not self._unit.refuse(message, pid)
            self._messages.append(Received(now - self._unit.started_at, pid, message, counted))
            text = "  ".join(f"{key}={value}" for key, value in message.assignments)
            if counted and message.get("WATCHDOG") == "1":
                self._pings.append(now - self._unit.started_at)
            self._tell("notification", text, now, pid, message)
            self._perform(self._unit.on_message(message, pid, now))
        return bool(received)

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
                sent = self._service.kill(action.signum, everyone=action.everyone)
                whom = "every process of the service" if action.everyone else "the main process"
                if not sent:
                    whom += " is not sent: the test's own process has no handler for it"
                self._tell("signal", f"{signal_name(action.signum)} to {whom}", now)
            else:
                self._tell(action.what, action.text, now)

    def _tell(
        self, what: str, text: str, now: float, pid: int = 0, message: wire.Message | None = None
    ) -> None:
        event = Event(now - self._unit.started_at, what, text, pid, message)
        self._timeline.append(event)
        if self._on_event:
            self._on_event(event)

    def _open_service(self, address: str) -> Service | OwnProcess:
        settings: dict[str, str | None] = dict.fromkeys(_OWN)
        settings |= {"NOTIFY_SOCKET": address, "INVOCATION_ID": uuid.uuid4().hex}
        own_pid_in = ["SYSTEMD_EXEC_PID"]
        if self.settings.watchdog_s:
            settings["WATCHDOG_USEC"] = wire.usec(self.settings.watchdog_s)
            own_pid_in.append("WATCHDOG_PID")
        if self.command is None:
            from notifywrap.testing.ownprocess import OwnProcess

            return OwnProcess(settings, own_pid_in)
        merged = {**self._env, **settings}
        env = {name: value for name, value in merged.items() if value is not None}
        streams = {"stdout": self._stdout, "stderr": self._stderr}
        return Service(self.command, env, own_pid_in, cwd=self._cwd, **streams)


def _milliseconds(deadline: float | None) -> float | None:
    """How long to poll until *deadline*; rounded up, or the last millisecond would be spun away."""
    if deadline is None or deadline == float("inf"):
        return None
    return min(max(deadline - time.monotonic(), 0.0) * 1000 + 1, 1e9)
