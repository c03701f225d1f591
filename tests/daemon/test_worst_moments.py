"""Signals, forks, threads and endings at the worst moment: no hang, nothing lost, no surprise."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import notifywrap
from notifywrap.daemon import functions
from notifywrap.daemon.notifier import Notifier
from notifywrap.daemon.watchdog import Watchdog
from notifywrap.daemon.workers import Workers
from tests.runtime.wrapped import ROOT, clean_environment, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tests.runtime.wrapped import Inbox

PACKAGE = notifywrap.__path__[0]


@pytest.fixture
def notifier(inbox: Inbox) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": inbox.path, "WATCHDOG_USEC": "2000000"})


def at_every_line(call: Callable[[], object], interruption: Callable[[], object]) -> int:
    """Make *call*, and at each line of notifywrap and threading that it runs, *interruption*.

    That is what a signal handler does, at a moment of its choice. Returns how often it was done.
    """
    times = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal times
        if not frame.f_code.co_filename.startswith((PACKAGE, threading.__file__)):
            return None
        if event == "line":
            times += 1
            interruption()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return times


def run(program: str, inbox: Inbox, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, under a systemd that is *inbox*."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    return subprocess.run(
        [sys.executable, *options, "-c", start + program],
        env=clean_environment(NOTIFY_SOCKET=inbox.path, **env),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


# --- signals --------------------------------------------------------------------------------------


def test_handler_may_speak_while_the_daemon_does(inbox: Inbox, notifier: Notifier):
    """At any line of it: a lock in there would wait for itself."""

    def interrupt() -> None:
        notifier.status("inner")
        heard.extend(message["STATUS"] for message in inbox.drain())

    heard: list[str] = []
    assert at_every_line(lambda: notifier.status("outer"), interrupt) > 20
    heard.extend(message["STATUS"] for message in inbox.drain())
    assert heard.count("outer") == 1
    assert set(heard) == {"outer", "inner"}


def test_handler_may_close_the_watchdog_that_is_being_closed(notifier: Notifier):
    """SIGTERM during the end of the `with` block."""
    watchdog = Watchdog(notifier, lambda: True)
    assert at_every_line(watchdog.close, watchdog.close) > 3


def test_two_first_uses_at_once_share_one_notifier(inbox: Inbox, monkeypatch: pytest.MonkeyPatch):
    """Else one says ready() and the watchdog of the other waits for it for ever."""
    monkeypatch.setenv("NOTIFY_SOCKET", inbox.path)
    monkeypatch.setattr(functions, "_notifiers", {})
    seen: list[Notifier] = []
    at_every_line(
        lambda: seen.append(functions.get_notifier()),
        lambda: seen.append(functions.get_notifier()),
    )
    assert len(seen) > 3
    assert len(set(map(id, seen))) == 1


def test_handler_that_interrupts_the_first_use_gets_an_error_of_ours(inbox: Inbox):
    """The functions are loaded on first use: what is half loaded cannot be called."""
    program = """
import notifywrap, sys
def hook(event, arguments):
    if event == "import" and arguments[0] == "notifywrap.protocol.notify":
        try:
            notifywrap.stopping()
        except Exception as error:
            print(type(error).__name__, error)
sys.addaudithook(hook)
print(notifywrap.ready(), notifywrap.stopping())
"""
    done = run(program, inbox)
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first.startswith("NotifyError ")
    assert "stopping" in first
    assert second == "True True"


# --- threads and forks ----------------------------------------------------------------------------


def in_child(work: Callable[[], object], limit_s: float = 10.0) -> int:
    """The exit status of a forked child that does *work*; -SIGKILL when it hangs."""
    if (pid := os.fork()) == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    pidfd = os.pidfd_open(pid)
    ended, _, _ = select.select([pidfd], [], [], limit_s)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_child_forked_at_any_moment_can_close_its_watchdog(notifier: Notifier):
    """It leaves the `with` block as well: a lock that its parent held is nobody's to release."""
    watchdog = Watchdog(notifier, lambda: True)
    statuses: list[int] = []

    def interrupt() -> None:
        statuses.append(in_child(watchdog.close))

    at_every_line(watchdog.close, interrupt)
    assert statuses
    assert set(statuses) == {0}


def test_child_forked_while_another_thread_joins_can_join():
    """A lock that is held at the fork is held in the child for ever: by nobody."""
    workers = Workers()
    with workers._lock:
        assert in_child(lambda: workers.join("\udcff\ud800", within=1.0)) == 0
    assert "?? (process " in workers.describe_late(0.0)
    workers.close()


def test_fork_in_a_thread_leaves_parent_and_child_well(inbox: Inbox):
    """The child has one thread, no watchdog and no voice; the parent pings on."""
    notifier = Notifier({"NOTIFY_SOCKET": inbox.path, "WATCHDOG_USEC": "200000"})
    notifier.ready()
    statuses: list[int] = []

    def child() -> None:
        assert threading.active_count() == 1
        assert notifier.status("from the child") is False
        with Watchdog(notifier, lambda: 1 / 0):
            assert threading.active_count() == 1
        watchdog.close()

    with Watchdog(notifier, lambda: True) as watchdog:
        inbox.wait("WATCHDOG")
        thread = threading.Thread(target=lambda: statuses.append(in_child(child)))
        thread.start()
        thread.join()
        assert statuses == [0]
        inbox.drain()
        inbox.wait("WATCHDOG")
    assert not any(b"child" in datagram for datagram in inbox.heard)


def test_threads_and_forks_while_sending(inbox: Inbox, notifier: Notifier):
    """Every datagram is whole, whoever sends, and no child is stuck."""
    done = threading.Event()
    refused: list[BaseException] = []

    def chatter(name: str) -> None:
        while not done.is_set():
            try:
                notifier.status(f"{name} {'x' * 100}")
            except notifywrap.NotifyError:
                pass  # the reader below is a slow one
            except BaseException as error:  # noqa: BLE001
                refused.append(error)

    threads = [threading.Thread(target=chatter, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    try:
        statuses = []
        for _ in range(5):
            statuses.append(in_child(lambda: notifier.status("child")))
            inbox.drain()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    inbox.drain()
    assert statuses == [0] * 5
    assert refused == []
    assert {datagram[7:] for datagram in inbox.heard} <= {b"a " + b"x" * 100, b"b " + b"x" * 100}


# --- the end --------------------------------------------------------------------------------------


def test_last_words_at_exit_are_heard(inbox: Inbox):
    """From atexit, with a watchdog running whose check hangs; where no thread can be started any
    more (Python 3.12 and later) that is an error of ours."""
    program = """
import atexit, notifywrap, threading
def last():
    print(notifywrap.status("last words"), notifywrap.stopping())
    try:
        notifywrap.watchdog(lambda: True).close()
    except notifywrap.NotifyError as error:
        assert "thread" in str(error), error
atexit.register(last)
asked = threading.Event()
watchdog = notifywrap.watchdog(lambda: asked.set() or threading.Event().wait())
notifywrap.ready()
asked.wait()
"""
    done = run(program, inbox, WATCHDOG_USEC="200000")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")
    assert inbox.wait("STATUS", "last words")
    assert inbox.wait("STOPPING")


def test_nothing_is_left_open_at_the_end(inbox: Inbox):
    """Under -X dev and in other people's tests a ResourceWarning is an error."""
    program = "import notifywrap; print(notifywrap.ready())"
    done = run(program, inbox, "-X", "dev", "-W", "error")
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """TasksMax= is reached."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.usefixtures("no_threads")
def test_watchdog_that_cannot_start_is_an_error_of_ours(notifier: Notifier):
    """And not a daemon that systemd ends for want of pings."""
    with pytest.raises(notifywrap.NotifyError, match="can't start new thread"):
        Watchdog(notifier)


def test_watchdog_leaves_no_thread_behind(notifier: Notifier):
    """A daemon may make another one after a reload, for years."""
    before = threading.active_count()
    for healthy in (None, lambda: True):
        with Watchdog(notifier, healthy):
            assert threading.active_count() == before + (1 if healthy is None else 2)
        until(lambda: threading.active_count() == before, "its threads are gone")
