"""Workers in processes of their own: the parent pings only while every one of them gets on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from notifywrap.daemon.notifier import Notifier
from notifywrap.daemon.watchdog import Watchdog
from notifywrap.daemon.workers import MOST, Workers
from tests.runtime.wrapped import ROOT, TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.runtime.wrapped import Inbox

GRANT_S = 0.4


@pytest.fixture
def watchdog(inbox: Inbox) -> Iterator[Watchdog]:
    env = {"NOTIFY_SOCKET": inbox.path, "WATCHDOG_USEC": str(int(GRANT_S * 1e6))}
    notifier = Notifier(env)
    notifier.ready()
    inbox.wait("READY")
    with Watchdog(notifier) as watchdog:
        yield watchdog


@pytest.fixture
def fork() -> Iterator[Callable[[Callable[[], None]], int]]:
    """Runs something in a child, which is gone after the test."""
    pids = []

    def start(work: Callable[[], None]) -> int:
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                work()
                os.write(writing, b"x")
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        pids.append(pid)
        os.close(writing)
        assert os.read(reading, 1) == b"x"
        os.close(reading)
        return pid

    yield start
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def test_parent_pings_while_its_worker_gets_on(inbox: Inbox, watchdog: Watchdog, fork):
    """The beat is made in another process."""
    fork(lambda: watchdog.worker("one", within=1000.0))
    for _ in range(3):
        inbox.wait("WATCHDOG", "1")


def test_worker_has_half_of_the_watchdog_by_default(inbox: Inbox, watchdog: Watchdog, fork):
    """Who names no time means the one that the unit has."""
    fork(lambda: watchdog.worker("stuck"))
    assert "stuck (process" in inbox.wait("STATUS", "unhealthy")["STATUS"]


def test_stuck_worker_is_named_and_nothing_is_pinged(inbox: Inbox, watchdog: Watchdog, fork):
    """One of several: the others serve on, and no request tells."""
    fork(lambda: watchdog.worker("good", within=1000.0))
    pid = fork(lambda: watchdog.worker("stuck", within=0.05))
    said = inbox.wait("STATUS", "unhealthy")["STATUS"]
    assert re.fullmatch(rf"unhealthy: stuck \(process {pid}\) silent for .* s", said)
    inbox.drain()
    with pytest.raises(TimeoutError):
        inbox.wait("WATCHDOG", limit_s=2 * GRANT_S)


def test_dead_worker_is_missed_until_it_is_forgotten(inbox: Inbox, watchdog: Watchdog, fork):
    """gunicorn's child_exit hook is the place to say so, when a new one is forked."""
    pid = fork(lambda: watchdog.worker("one", within=1000.0))
    os.kill(pid, signal.SIGKILL)
    wanted = f"unhealthy: one (process {pid}) has ended"
    assert inbox.wait("STATUS", "unhealthy")["STATUS"] == wanted
    watchdog.forget_worker(pid)
    assert inbox.wait("WATCHDOG", "1")


def test_worker_that_has_done_its_work_is_not_missed(inbox: Inbox, watchdog: Watchdog, fork):
    """It said so."""
    fork(lambda: watchdog.worker("one", within=0.05).close())
    for _ in range(3):
        inbox.wait("WATCHDOG", "1")


def test_forgotten_worker_does_not_speak_for_its_successor(fork):
    """At a reload the old workers finish their requests while new ones have taken their places."""
    workers = Workers()
    asking, ask = os.pipe()
    answering, answer = os.pipe()

    def be_old() -> None:
        old = workers.join("old", within=1000.0)

        def go_on() -> None:
            os.read(asking, 1)
            old()
            old.close()
            os.write(answer, b"x")

        threading.Thread(target=go_on).start()

    workers.forget(fork(be_old))
    pid = fork(lambda: workers.join("new", within=1.0))
    began = time.monotonic()
    os.write(ask, b"x")
    assert os.read(answering, 1) == b"x"
    assert workers.describe_late(began + 1.0).startswith(f"new (process {pid}) silent")
    for fd in (asking, ask, answering, answer):
        os.close(fd)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_takes_it_as_an_argument(method: str):
    """A spawned process shares no memory by itself."""
    program = [sys.executable, str(TARGETS / "spawned_workers.py"), method, str(ROOT)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=30, check=True)
    stuck = r"stuck \(process \d+\) silent for \d\.\d s"
    assert re.fullmatch(stuck + r", crashed \(process \d+\) has ended\n", done.stdout), done


def test_workers_without_end_are_refused():
    """Rather than one of them not being watched."""
    workers = Workers()
    for _ in range(MOST):
        workers.join(within=1.0)
    with pytest.raises(OSError, match="already"):
        workers.join(within=1.0)
    workers.forget(os.getpid())
    assert workers.describe_late(time.monotonic() + 5) == ""
    workers.close()
    workers.close()
