"""`notifywrap try`: the wrapper and its target under a stand-in for systemd; tells what happens."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
from collections import deque
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, BinaryIO

import notifywrap
from notifywrap.cli import about
from notifywrap.cli.config import make_spec
from notifywrap.cli.options import ONCE, OPTIONS, as_words, parse_arguments
from notifywrap.cli.settings import settle
from notifywrap.cli.tryview import View
from notifywrap.errors import SpecError
from notifywrap.policy.duration import parse_duration
from notifywrap.policy.exits import FAILED, USAGE
from notifywrap.testing.manager import Manager

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from notifywrap.testing.timeline import Event

__all__ = ["main", "try_command", "wrapper_command"]

WATCHDOG_S = 30.0  # what our units have; Traefik's own 1 s restarts healthy services under load
STOP_TIMEOUT_S = 10.0  # not systemd's 90 s: somebody sits and waits
REFRESH_S = 0.5  # of the live line
DRAIN_S = 2.0
_OWN = {"--watchdog": ONCE, "--for": ONCE}
_ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# As the `notifywrap` command does it, and nothing of the current directory or PYTHON* gets in. The
# path makes a source tree work that nobody has installed.
_START = (
    "import sys; sys.path.append({!r}); from notifywrap.cli.__main__ import main; sys.exit(main())"
)


def main(argv: Sequence[str]) -> int:
    """Runs what *argv*, the words after `try`, asks for.

    0 when it became ready and the watchdog never fired, 1 when not, 2 for misuse.
    """
    try:
        if any(word in ("-h", "--help") for word in _before_dashes(argv)):
            return about.main(["--help", "try"])
        arguments = parse_arguments(argv, {**OPTIONS, **_OWN})
        watchdog = arguments.last("--watchdog", "")
        watchdog_s: float | None = WATCHDOG_S
        if watchdog:
            watchdog_s = None if watchdog == "0" else parse_duration(watchdog, "--watchdog")
        length = arguments.last("--for", "")
        for_s = parse_duration(length, "--for") if length else None
        # The wrapper's own mistakes: told before it is started.
        spec = make_spec(settle(arguments, os.environ)[0], watchdog_s)
    except SpecError as error:
        sys.stderr.write(f"notifywrap try: {error}\n")
        return USAGE
    assert arguments.command is not None, "make_spec() refuses a command line without a command"
    options = as_words({k: v for k, v in arguments.values.items() if k not in _OWN})
    command = wrapper_command(options, arguments.command)
    title = " ".join(("notifywrap", *options, "--", *arguments.command))
    access = "all" if spec.main_is_target else "main"  # as its unit would have to say
    return try_command(
        command, title=title, watchdog_s=watchdog_s, for_s=for_s, notify_access=access
    )


def wrapper_command(options: Sequence[str], command: Sequence[str]) -> list[str]:
    """The argv that runs this very notifywrap, installed or not, in this very interpreter."""
    root = str(Path(notifywrap.__file__).parents[1])
    return [sys.executable, "-I", "-c", _START.format(root), *options, "--", *command]


def try_command(
    argv: Sequence[str],
    *,
    title: str,
    watchdog_s: float | None = WATCHDOG_S,
    for_s: float | None = None,
    stop_timeout_s: float = STOP_TIMEOUT_S,
    notify_access: str = "main",
) -> int:
    """Runs *argv* as systemd would, under the name *title*, for *for_s* seconds or until a signal.

    0 when it became ready and its watchdog never fired, else 1; 125 when it could not be tried.
    """
    view = View(sys.stdout, watchdog_s)
    events: deque[Event] = deque()
    with Bell() as bell:

        def on_event(event: Event) -> None:
            events.append(event)
            bell.ring()

        manager = Manager(
            argv,
            watchdog_s=watchdog_s,
            stop_timeout_s=stop_timeout_s,
            kill_mode="mixed",
            notify_access=notify_access,
            stdout=PIPE,
            stderr=PIPE,
            on_event=on_event,
        )
        try:
            manager.start()
        except (OSError, ChildProcessError) as error:
            sys.stderr.write(f"notifywrap try: {error}\n")
            return FAILED
        view.title(title, manager)
        try:
            Trial(manager, view, bell, events, for_s).run()
        finally:
            manager.close()
    view.summary(manager)
    return 0 if manager.ready_s is not None and not manager.watchdog_fired else 1


class Bell:
    """Wakes the loop: for a signal (Ctrl-C, TERM, HUP) or an event of the manager's thread."""

    def __enter__(self) -> Self:
        self.fd, self._rope = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._rope, False)
        self._handlers = {signum: signal.signal(signum, lambda *_: None) for signum in _ASKED}
        self._wakeup = signal.set_wakeup_fd(self._rope, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        os.close(self.fd)
        os.close(self._rope)

    def ring(self) -> None:
        """From any thread: there is something to do."""
        try:
            os.write(self._rope, b"\0")
        except BlockingIOError:
            pass  # EAGAIN: it rings already

    def signals(self) -> list[int]:
        """The signals that asked us to end since the last call."""
        try:
            return [signum for signum in os.read(self.fd, 4096) if signum in _ASKED]
        except BlockingIOError:
            return []


class Trial:
    """The loop: passes output on, tells events, ends the service when it is time."""

    def __init__(
        self,
        manager: Manager,
        view: View,
        bell: Bell,
        events: deque[Event],
        for_s: float | None,
    ) -> None:
        self._manager, self._view, self._bell, self._events = manager, view, bell, events
        self._ends_at = None if for_s is None else time.monotonic() + for_s
        self._stopping = False
        self._drained_by = 0.0

    def run(self) -> None:
        """Returns when the service has ended and all its output was passed on."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._bell.fd, selectors.EVENT_READ)
            for fd, stream in self._streams():
                selector.register(stream, selectors.EVENT_READ, fd)
            while self._goes_on(len(selector.get_map()) > 1):
                for key, _ in selector.select(self._patience_s()):
                    if key.data and not self._pass_on(key.fd, key.data):
                        selector.unregister(key.fileobj)
                self._obey(self._bell.signals())
                self._tell()
                self._view.refresh(self._manager)
        self._tell()

    def _goes_on(self, is_open: bool) -> bool:
        if not self._manager.ended:
            return True
        # Everybody is dead, so the pipes end at once, unless one was given away to somebody else.
        self._drained_by = self._drained_by or time.monotonic() + DRAIN_S
        return is_open and time.monotonic() < self._drained_by

    def _streams(self) -> Iterator[tuple[int, BinaryIO]]:
        for fd, stream in ((1, self._manager.stdout), (2, self._manager.stderr)):
            assert stream is not None, "they were asked for with PIPE"
            yield fd, stream  # type: ignore[misc]  # IO[bytes], a pipe's end

    def _pass_on(self, source: int, fd: int) -> bool:
        """What the target wrote; False at the end of it."""
        data = os.read(source, 65536)
        self._view.output(fd, data)
        return bool(data)

    def _tell(self) -> None:
        while self._events:
            self._view.event(self._events.popleft())
        if self._view.is_gone:
            self._stop("nobody reads the output any more")

    def _obey(self, signals: list[int]) -> None:
        for signum in signals:
            if self._stopping:
                self._view.say("killing every process: asked again")
                self._manager.kill(signal.SIGKILL, everyone=True)
            else:
                self._stop(f"{signal.Signals(signum).name} came (once more: kill)")
        if self._ends_at is not None and time.monotonic() >= self._ends_at:
            self._stop("--for is over")

    def _stop(self, why: str) -> None:
        if not self._stopping:
            self._stopping, self._ends_at = True, None
            if not self._manager.ended:
                self._view.stopping(why)
                self._manager.stop()

    def _patience_s(self) -> float | None:
        """How long to wait for something to happen; None for ever."""
        waits = [REFRESH_S] if self._view.is_live or self._manager.ended else []
        if self._ends_at is not None:
            waits.append(max(self._ends_at - time.monotonic(), 0.0))
        return min(waits, default=None)


def _before_dashes(argv: Sequence[str]) -> Sequence[str]:
    return argv[: argv.index("--")] if "--" in argv else argv
