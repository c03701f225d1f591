"""The stand-in with the test's own process as the service: for code that is tested in place."""

from __future__ import annotations

import inspect
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

import notifywrap
from notifywrap.compat.sdnotify import SystemdNotifier
from notifywrap.testing import Manager, ManagerError
from notifywrap.testing.managers import ManagerOptions, NotifyManager

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_S = 20.0  # more than anything here takes on a busy machine


@pytest.fixture
def term() -> Iterator[list[int]]:
    """SIGTERM is noted down by whoever runs the tests, and not by the code under test."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    yield heard
    signal.signal(signal.SIGTERM, before)


def test_what_was_said_is_found_at_once() -> None:
    """A test that had to wait for what it has just done itself would be slow, or flaky."""
    with Manager(watchdog_s=30.0) as unit:
        for number in range(200):
            assert notifywrap.status(f"step {number}")
            assert unit.status == f"step {number}"
        assert unit.ready_s is None
        assert notifywrap.ready("serving")
        assert (unit.state, unit.status) == ("active", "serving")
        notifywrap.stopping()
        assert unit.state == "deactivating"


def test_each_manager_is_found_anew() -> None:
    """The functions of notifywrap keep their address from the first use, a test must not."""
    for status in ("one", "two"):
        with Manager(watchdog_s=1.0) as unit:
            assert notifywrap.ready(status)
            assert SystemdNotifier(debug=True).notify("WATCHDOG=1") is None
            assert (unit.status, len(unit.pings)) == (status, 1)


def test_everything_is_as_before_afterwards() -> None:
    """Nor must a test leave anything for the next one, where there is no systemd."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WATCHDOG_USEC", "7")
        before = dict(os.environ)
        with Manager():
            assert os.environ["SYSTEMD_EXEC_PID"] == str(os.getpid())
            assert "WATCHDOG_USEC" not in os.environ
            assert notifywrap.ready()
            os.environ.pop("NOTIFY_SOCKET")  # as unset=True does
        assert os.environ == before
    assert notifywrap.ready() is False


def test_who_speaks_on_after_its_test_is_not_in_the_way() -> None:
    """A thread that was left behind: what it says is said to nobody, and no error."""
    with Manager(watchdog_s=0.4) as unit:
        notifywrap.ready()
        watchdog = notifywrap.watchdog()
        unit.wait_pings(1, LONG_S)
    with Manager(watchdog_s=30.0) as unit, watchdog:
        notifywrap.ready()
        with pytest.raises(ManagerError):
            unit.wait_pings(1, 0.2)


def test_a_child_of_the_test_is_not_the_service() -> None:
    """NotifyAccess=main goes by the pid, here as well."""
    notify = 'import os; from notifywrap import Notifier; Notifier(os.environ).status("child")'
    for access, status in (("main", ""), ("all", "child")):
        with Manager(notify_access=access) as unit:
            command = ["-c", notify]
            pid = os.posix_spawn("/usr/bin/python3", ["python3", *command], os.environ)
            assert os.waitpid(pid, 0)[1] == 0
            assert unit.status == status


def test_its_watchdog_fires_and_it_lives() -> None:
    """What would have happened is told; the test goes on."""
    with Manager(watchdog_s=0.1) as unit:
        notifywrap.ready()
        assert unit.wait_watchdog(LONG_S) >= 0.1
        assert unit.watchdog_fired
        assert unit.watchdog_gap >= 0.1
        assert unit.result.result == "watchdog"
        assert "SIGABRT" in unit.tell()
        with pytest.raises(ManagerError, match="own process"):
            unit.wait_ended(LONG_S)


def test_a_signal_goes_to_the_handler_of_the_code_under_test() -> None:
    """`manager.stop()` is how a clean end is tested."""
    heard = threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with Manager() as unit:
            signal.signal(signal.SIGTERM, lambda *_: heard.set())
            notifywrap.ready()
            assert unit.stop() is None
            assert heard.wait(LONG_S)
            assert unit.state == "deactivating"
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_a_handler_of_its_own_no_signal_is_sent(term: list[int]) -> None:
    """The default ends the tests, and a handler from before may do so as well."""
    with Manager(notify_reload=True) as unit:
        notifywrap.ready()
        unit.kill(signal.SIGUSR1)
        unit.stop()
        assert unit.tell().count("has no handler") == 2
    assert term == []


def test_there_is_one_at_a_time() -> None:
    """os.environ has room for one; a second would take over in silence."""
    with Manager() as unit, NotifyManager() as make:
        with pytest.raises(ManagerError, match="another manager"):
            make()
        notifywrap.ready()
        assert unit.state == "active"
    with pytest.raises(TypeError, match="for a command"):
        Manager(cwd="/")


def test_a_status_that_is_replaced_at_once_is_waited_for_all_the_same() -> None:
    """Or a test would pass or fail by who is quicker. What was replaced before does not count."""
    with Manager() as unit:
        notifywrap.status("loading 3 of 9")
        assert unit.wait_status(r"\d of 9", LONG_S) == "loading 3 of 9"
        notifywrap.status("loaded")
        with pytest.raises(ManagerError, match=r"(?s)'of 9'.*STATUS=loaded"):
            unit.wait_status("of 9", 0.05)

        def say() -> None:
            notifywrap.status("reading")
            notifywrap.status("loaded")

        said = threading.Timer(0.05, say)
        said.start()
        assert unit.wait_status("reading", LONG_S) == "reading"
        said.join()


def test_the_gap_is_measured_until_now() -> None:
    """A watchdog that is not fed any more has a gap before it fires."""
    with Manager(watchdog_s=30.0) as unit:
        assert unit.watchdog_gap == 0.0
        began = time.monotonic()
        notifywrap.ready()
        assert unit.state == "active"
        threading.Event().wait(0.05)
        assert 0.05 <= unit.watchdog_gap <= time.monotonic() - began
        SystemdNotifier().notify("WATCHDOG=1")
        assert unit.watchdog_gap >= 0.05, "the largest, not the last"


def test_the_story_of_many_pings_is_short() -> None:
    """A failure is read by people."""
    with Manager() as unit:
        notifier = notifywrap.Notifier()
        for _ in range(50):
            notifier.ping()
        notifier.close()
        assert unit.tell().count("WATCHDOG=1") == 2
        assert "48 times more" in unit.tell()


def test_the_fixture_takes_what_a_manager_takes() -> None:
    """Two lists, one for type checkers."""
    parameters = set(inspect.signature(Manager).parameters)
    assert set(ManagerOptions.__annotations__) == parameters - {"command"}
