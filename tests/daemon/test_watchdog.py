"""The watchdog of a Python daemon: pings on evidence, and on nothing else."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifywrap.daemon.beats import Beats
from notifywrap.daemon.notifier import Notifier
from notifywrap.daemon.watchdog import Watchdog
from notifywrap.errors import NotifyError

if TYPE_CHECKING:
    from tests.runtime.wrapped import Inbox

GRANT_S = 0.2


@pytest.fixture
def notifier(inbox: Inbox) -> Notifier:
    """Under a systemd that expects a ping every 0.2 s, and ready."""
    usec = str(int(GRANT_S * 1e6))
    notifier = Notifier({"NOTIFY_SOCKET": inbox.path, "WATCHDOG_USEC": usec})
    notifier.ready()
    inbox.wait("READY")
    return notifier


def silence(inbox: Inbox) -> bool:
    """Does nothing come for longer than systemd would wait?"""
    inbox.drain()
    try:
        inbox.wait("WATCHDOG", limit_s=3 * GRANT_S)
    except TimeoutError:
        return True
    return False


def test_healthy_daemon_is_pinged_for(inbox: Inbox, notifier: Notifier):
    """Again and again."""
    with Watchdog(notifier, lambda: True):
        for _ in range(3):
            inbox.wait("WATCHDOG", "1")


def test_no_ping_after_stopping(inbox: Inbox, notifier: Notifier):
    """It would arm systemd's watchdog anew, which would kill a daemon that takes time to end."""
    with Watchdog(notifier, lambda: True):
        inbox.wait("WATCHDOG", "1")
        notifier.stopping("finishing what is under way")
        inbox.wait("STOPPING", "1")
        assert silence(inbox)


@pytest.mark.parametrize("answer", [False, None, 0], ids=repr)
def test_no_ping_while_the_health_check_says_no(inbox: Inbox, notifier: Notifier, answer: object):
    """STATUS says why; it goes on when the check passes again."""
    answers = [answer]
    with Watchdog(notifier, lambda: answers[0]):
        assert "says no" in inbox.wait("STATUS")["STATUS"]
        assert silence(inbox)
        answers[0] = True
        assert inbox.wait("WATCHDOG", "1")


def test_check_that_raises_is_no_evidence(inbox: Inbox, notifier: Notifier):
    """And its exception does not end the watchdog."""
    with Watchdog(notifier, lambda: 1 / 0):
        assert "ZeroDivisionError" in inbox.wait("STATUS")["STATUS"]
        assert silence(inbox)


def test_check_that_hangs_is_named_and_gets_no_ping(inbox: Inbox, notifier: Notifier):
    """A deadlock in what it asks is the hang that it is to find; when it is over, it is over."""
    release = threading.Event()
    with Watchdog(notifier, lambda: release.wait(20)):
        said = inbox.wait("STATUS")["STATUS"]
        assert re.fullmatch(r"unhealthy: the health check has not returned for \d+\.\d s", said)
        assert silence(inbox)
        release.set()
        assert inbox.wait("WATCHDOG", "1")
        assert inbox.wait("STATUS")["STATUS"] == "healthy again"
    assert not any(b"WATCHDOG=1" in one for one in inbox.heard[: inbox.heard.index(said_as(said))])


def test_the_daemons_own_status_comes_back(inbox: Inbox, notifier: Notifier):
    """It says where the daemon listens, and nobody says it twice."""
    notifier.status("listening on :8080")
    assert inbox.next()
    answers = [False]
    with Watchdog(notifier, lambda: answers[0]):
        assert "says no" in inbox.wait("STATUS")["STATUS"]
        answers[0] = True
        assert inbox.wait("STATUS")["STATUS"] == "listening on :8080"


def test_another_culprit_is_named_as_well(inbox: Inbox, notifier: Notifier):
    """The first one has recovered, and whoever reads STATUS would look for it in vain."""
    with Watchdog(notifier) as watchdog:
        first, second = (watchdog.heartbeat(name, within=0.05) for name in ("first", "second"))
        first.close()
        assert "second silent" in inbox.wait("STATUS")["STATUS"]
        second.close()
        watchdog.heartbeat("third", within=0.05)
        said = inbox.wait("STATUS")["STATUS"]
        while "third" not in said:  # "healthy again" may come between the two
            said = inbox.wait("STATUS")["STATUS"]
        assert "second" not in said


def said_as(status: str) -> bytes:
    return f"STATUS={status}".encode()


def test_check_that_hangs_does_not_keep_the_daemon(inbox: Inbox, notifier: Notifier):
    """close() returns, and nothing is said afterwards."""
    release, asked = threading.Event(), threading.Event()

    def healthy() -> bool:
        asked.set()
        return release.wait(20)

    watchdog = Watchdog(notifier, healthy)
    assert asked.wait(10)
    watchdog.close()
    assert silence(inbox)
    release.set()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_check_that_wants_to_end_the_program_is_no_evidence(
    inbox: Inbox, notifier: Notifier, error: type[BaseException]
):
    """In a thread that would end the thread, and nobody would know why there are no pings."""

    def healthy() -> bool:
        raise error

    with Watchdog(notifier, healthy):
        assert error.__name__ in inbox.wait("STATUS")["STATUS"]
        assert silence(inbox)


def test_check_may_close_the_watchdog(inbox: Inbox, notifier: Notifier):
    """It has found out that the daemon is ending."""
    closed = threading.Event()

    def healthy() -> bool:
        watchdog.close()
        closed.set()
        return True

    watchdog = Watchdog(notifier, healthy, is_ready=True)
    assert closed.wait(10)
    assert silence(inbox)


def test_late_heartbeat_stops_the_pings_and_is_named(inbox: Inbox, notifier: Notifier):
    """One stuck thread of many, which no port would show."""
    with Watchdog(notifier) as watchdog:
        alive = watchdog.heartbeat("reader", within=20.0)
        stuck = watchdog.heartbeat("ingest", within=2 * GRANT_S)
        inbox.wait("WATCHDOG", "1")
        assert inbox.wait("STATUS")["STATUS"].startswith("unhealthy: ingest silent for")
        assert silence(inbox)
        alive()
        stuck.close()
        assert inbox.wait("WATCHDOG", "1")


def test_nothing_is_pinged_before_ready(inbox: Inbox):
    """WATCHDOG=1 before READY=1 arms the watchdog of a service that is still starting."""
    notifier = Notifier({"NOTIFY_SOCKET": inbox.path, "WATCHDOG_USEC": "200000"})
    with Watchdog(notifier):
        assert silence(inbox)
        notifier.ready()
        assert inbox.wait("WATCHDOG", "1")


def test_forked_child_does_not_ping(inbox: Inbox, notifier: Notifier):
    """Threads do not survive a fork; its heartbeats must not reach the parent either."""
    with Watchdog(notifier) as watchdog:
        beat = watchdog.heartbeat("main", within=GRANT_S)
        if (pid := os.fork()) == 0:
            beat()
            os._exit(threading.active_count())
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
        assert "main silent" in inbox.wait("STATUS", "unhealthy")["STATUS"]


def test_without_a_watchdog_nothing_is_started():
    """The same daemon outside of systemd: no thread, and beats that cost nothing."""
    before = threading.active_count()
    with Watchdog(Notifier({}), lambda: 1 / 0) as watchdog:
        watchdog.heartbeat("main", within=1.0)()
        assert threading.active_count() == before


@pytest.mark.parametrize("within", [0.0, -1, float("nan"), float("inf"), "5", None])
def test_time_that_is_none_is_refused(within: float):
    """At once, not at the first check: a heartbeat that is never late would be no evidence."""
    with pytest.raises(NotifyError, match="within"), Watchdog(Notifier({})) as watchdog:
        watchdog.heartbeat("main", within=within)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=20))
def test_part_is_late_exactly_when_it_was_silent_for_too_long(beats: list[tuple[str, float]]):
    """Whatever the others do."""
    known, now = Beats(), 0.0
    last = dict.fromkeys("abc", 0.0)
    for name in last:
        known.add(name, 2.0, 0.0)
    for name, after_s in beats:
        now += after_s
        known.beat(name, now)
        last[name] = now
        assert set(known.find_late(now)) == {n for n, at in last.items() if now - at > 2.0}


def test_part_that_was_removed_stays_removed():
    """A worker's last beat may come after its end."""
    beats = Beats()
    beats.add("a", 1.0, 0.0)
    beats.remove("a")
    beats.beat("a", 5.0)
    assert beats.find_late(100.0) == {}
