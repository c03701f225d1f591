"""--target-notify: what the target says of itself, what of it systemd hears, and what it counts."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.runtime.wrapped import Wrapped, target, until

if TYPE_CHECKING:
    from tests.runtime.wrapped import Inbox

SPEAKER = target("speaker")


def ask(wrapper: Wrapped, command: str) -> None:
    """Tell the target, and wait until it has done so."""
    wrapper.tell(command)
    assert wrapper.line() == command


def keys(inbox: Inbox) -> set[str]:
    """Every assignment of all that was heard so far, STATUS aside."""
    inbox.drain()
    lines = b"\n".join(inbox.heard).decode().split("\n")
    return {line for line in lines if not line.startswith("STATUS=")}


@pytest.mark.parametrize(
    ("mode", "watchdog_s", "found"),
    [
        ("auto", 60, "@ 60000000 True"),
        ("require", 60, "@ 60000000 True"),
        ("auto", None, "@ None False"),
        ("ignore", 60, " None False"),
    ],
)
def test_what_the_target_finds(inbox: Inbox, mode: str, watchdog_s: int | None, found: str):
    """libsystemd looks for its own pid in WATCHDOG_PID; without a relay there must be nothing."""
    options = ("--target-notify", mode, "--ready", "alive")
    with Wrapped(SPEAKER, *options, inbox=inbox, watchdog_s=watchdog_s) as wrapper:
        assert wrapper.line() == f"started {found} nothing"


def test_where_there_is_no_systemd_there_is_no_relay():
    """A daemon asks for NOTIFY_SOCKET to know whether it runs under systemd."""
    with Wrapped(SPEAKER, "--ready", "alive") as wrapper:
        assert wrapper.line() == "started  None False nothing"


def test_require_wants_both_its_word_and_the_probes(inbox: Inbox, tmp_path):
    """A daemon's READY=1 may come before it serves, and an open port before it is ready."""
    mark = tmp_path / "mark"
    options = ("--target-notify", "require", "--ready", f"file:{mark}")
    with Wrapped(SPEAKER, *options, inbox=inbox) as wrapper:
        assert wrapper.line().startswith("started")
        mark.touch()
        inbox.wait("STATUS", "waiting for")
        ask(wrapper, "say STATUS=loading")
        inbox.wait("STATUS", "loading")
        assert "READY=1" not in keys(inbox)
        ask(wrapper, "say READY=1")
        inbox.wait("READY", "1")


def test_its_word_is_enough_where_nobody_named_a_probe(inbox: Inbox):
    """A daemon without a socket that speaks sd_notify needs no option at all."""
    with Wrapped(SPEAKER, inbox=inbox) as wrapper:
        assert wrapper.line().startswith("started")
        ask(wrapper, "say READY=1\\nSTATUS=up")
        inbox.wait("READY", "1")


def test_once_it_has_pinged_no_ping_goes_without_its_own(inbox: Inbox):
    """It knows of deadlocks that no probe sees."""
    options = ("--ready", "alive", "--period", "20ms")
    with Wrapped(SPEAKER, *options, inbox=inbox, watchdog_s=60) as wrapper:
        assert wrapper.line().startswith("started")
        inbox.wait("READY", "1")
        inbox.wait("WATCHDOG", "1")  # it has not begun with pings: the probes alone
        ask(wrapper, "say WATCHDOG=1")
        inbox.wait("WATCHDOG", "1")
        wrapper.tell("barrier")
        inbox.wait("BARRIER")
        assert wrapper.line() == "barrier"
        rounds = wrapper.switches() + 10
        until(lambda: wrapper.switches() > rounds, "ten more rounds")
        assert sum("WATCHDOG" in message for message in inbox.drain()) <= 1
        ask(wrapper, "say WATCHDOG=1")
        inbox.wait("WATCHDOG", "1")


@pytest.mark.parametrize(
    "options",
    [("--target-notify", "require", "--ready", "alive"), ("--ready", "alive", "--live", "notify")],
    ids=["require", "live"],
)
def test_its_pings_are_needed_from_the_start_where_that_is_asked(inbox: Inbox, options):
    """It may hang before its first ping."""
    with Wrapped(SPEAKER, *options, "--period", "20ms", inbox=inbox, watchdog_s=60) as wrapper:
        assert wrapper.line().startswith("started")
        ask(wrapper, "say READY=1")
        inbox.wait("READY", "1")
        rounds = wrapper.switches() + 10
        until(lambda: wrapper.switches() > rounds, "ten more rounds")
        assert not [message for message in inbox.drain() if "WATCHDOG" in message]
        ask(wrapper, "say WATCHDOG=1")
        inbox.wait("WATCHDOG", "1")


def test_what_is_passed_on_and_what_is_not(inbox: Inbox):
    """MAINPID would lock the wrapper out, WATCHDOG_USEC and NOTIFYACCESS are the unit's affair."""
    with Wrapped(SPEAKER, "--ready", "alive", inbox=inbox) as wrapper:
        assert wrapper.line().startswith("started")
        inbox.wait("READY", "1")
        before = keys(inbox)
        for text in ("MAINPID=1", "NOTIFYACCESS=all", "WATCHDOG_USEC=1", "EXTEND_TIMEOUT_USEC=9",
                     "X_OWN=1", "READY=1", "BUSERROR=x", "FDSTORE=1", "BARRIER=1", "=", "ERRNO=x",
                     "STATUS=it works\\rMAINPID=1"):  # fmt: skip
            ask(wrapper, f"say {text}")
        ask(wrapper, "say ERRNO=5")
        inbox.wait("ERRNO", "5")
        assert keys(inbox) - before == {"ERRNO=5"}
        ask(wrapper, "say WATCHDOG=trigger")
        inbox.wait("WATCHDOG", "trigger")
        ask(wrapper, "say FDSTOREREMOVE=1\\nFDNAME=one")
        assert inbox.wait("FDSTOREREMOVE") == {"FDSTOREREMOVE": "1", "FDNAME": "one"}
        ask(wrapper, "say RELOADING=1\\nMONOTONIC_USEC=1")
        assert int(inbox.wait("RELOADING", "1")["MONOTONIC_USEC"]) > 1  # of now, not of long ago
        ask(wrapper, "say EXTEND_TIMEOUT_USEC=77")
        inbox.wait("EXTEND_TIMEOUT_USEC", "77")
        ask(wrapper, "say READY=1")
        inbox.wait("READY", "1")
        ask(wrapper, "say STOPPING=1")
        inbox.wait("STOPPING", "1")


def test_descriptors_go_to_the_store_and_nowhere_else(inbox: Inbox):
    """They are kept over a restart; what is not asked to be kept is closed, as systemd would."""
    with Wrapped(SPEAKER, "--ready", "alive", inbox=inbox) as wrapper:
        assert wrapper.line().startswith("started")
        inbox.wait("READY", "1")
        before = wrapper.fds()
        ask(wrapper, "give 3 X_OWN=1")
        ask(wrapper, "give 2 FDSTORE=1\\nFDNAME=one\\nFDPOLL=0\\nREADY=1")
        inbox.socket.settimeout(5)
        while b"FDSTORE" not in (got := socket.recv_fds(inbox.socket, 4096, 9))[0]:
            pass
        data, fds, _, _ = got
        assert data == b"FDSTORE=1\nFDNAME=one\nFDPOLL=0"
        assert [os.pread(fd, 9, 0) for fd in fds] == [b"kept"] * 2
        for fd in fds:
            os.close(fd)
        until(lambda: wrapper.fds() == before, "all of them closed")


def test_a_barrier_waits_until_systemd_has_read_what_came_before(inbox: Inbox):
    """`systemd-notify` and sd_notify_barrier(3) end only when they have been heard."""
    with Wrapped(SPEAKER, "--ready", "alive", inbox=inbox) as wrapper:
        assert wrapper.line().startswith("started")
        inbox.wait("READY", "1")
        inbox.stuff()
        ask(wrapper, "say ERRNO=7")
        wrapper.tell("barrier")
        with pytest.raises(AssertionError, match="without a line"):
            wrapper.line(0.2)
        inbox.wait("ERRNO", "7")
        inbox.wait("BARRIER", "1")  # its descriptor goes with it
        assert wrapper.line() == "barrier"


HOSTILE = [
    pytest.param("flood 30 STOPPING=1\\nSTATUS=" + "x" * 4079, "longer than 4096", id="4097 bytes"),
    pytest.param("flood 30 STOPPING=1\\x00\\nREADY=1", "NUL", id="NUL"),
    pytest.param("flood 30 STOPPING=1\\nSTATUS=\\x5c", "backslash", id="backslash"),
    pytest.param("flood 30 STATUS=\\xff\\xfe", "UTF-8", id="UTF-8"),
    pytest.param("flood 1000 STATUS=a\\x1b[2J\\tb\\x07", "", id="1000 at once"),
    pytest.param("give 250 READY=1\\nMAINPID=1", "", id="250 fds"),
    pytest.param("flood 30 ", "", id="empty"),
    pytest.param("flood 30 " + "READY=1\\n" * 400, "", id="many lines"),
    pytest.param("flood 30 EXTEND_TIMEOUT_USEC=" + "9" * 300, "", id="numbers"),
]


@pytest.mark.parametrize(("command", "reason"), HOSTILE)
def test_hostile_messages_change_nothing_and_are_said_once(inbox: Inbox, command, reason):
    """The target is what faces the network: what it says may be an intruder's."""
    with Wrapped(SPEAKER, "--ready", "alive", inbox=inbox) as wrapper:
        assert wrapper.line().startswith("started")
        inbox.wait("READY", "1")
        before, fds = keys(inbox), wrapper.fds()
        wrapper.tell(command)
        wrapper.tell("say ERRNO=9")
        inbox.wait("ERRNO", "9")
        assert wrapper.line() == command
        assert keys(inbox) - before == {"ERRNO=9"}
        assert all(line.isprintable() for text in inbox.heard for line in text.decode().split("\n"))
        until(lambda: wrapper.fds() == fds, "no descriptor left")
        wrapper.tell("exit 0")
        assert wrapper.end() == 0
    lines = [line for line in wrapper.errors.split("\n") if "sd_notify" in line]
    assert len(lines) == bool(reason)
    assert reason in "".join(lines)


def test_what_systemd_does_not_read_waits_at_its_sender(inbox: Inbox):
    """A PID 1 that is stuck must not make the wrapper grow; and nothing is lost or out of order."""
    with Wrapped(SPEAKER, "--ready", "alive", inbox=inbox) as wrapper:
        assert wrapper.line().startswith("started")
        inbox.wait("READY", "1")
        inbox.stuff()
        wrapper.tell("flood 500 WATCHDOG=trigger")
        wrapper.tell("say ERRNO=9")
        with pytest.raises(AssertionError, match="without a line"):
            wrapper.line(0.2)
        inbox.heard.clear()
        inbox.wait("ERRNO", "9")
        assert inbox.heard.count(b"WATCHDOG=trigger") == 500
        assert wrapper.line() == "flood 500 WATCHDOG=trigger"


def test_last_words_reach_systemd(inbox: Inbox):
    """`systemctl status` of a failed unit: what it said of its own end is the best there is."""
    with Wrapped(SPEAKER, "--ready", "alive", inbox=inbox) as wrapper:
        assert wrapper.line().startswith("started")
        inbox.wait("READY", "1")
        os.kill(wrapper.pid, signal.SIGSTOP)  # so that both are found at once
        for command in ("say ERRNO=28", "give 1 FDSTORE=1", "say READY=1", "exit 3"):
            wrapper.tell(command)
        until(lambda: wrapper.line() == "say READY=1", "all is said")
        wrapper.signal(signal.SIGCONT)
        assert wrapper.end() == 3
    assert {"ERRNO=28", "FDSTORE=1"} <= keys(inbox)
    assert sum(b"READY=1" in datagram for datagram in inbox.heard) == 1


def test_a_flood_does_not_delay_pings_or_signals(inbox: Inbox):
    """1000 messages a second for a second: the watchdog's pings go out in time all the same."""
    options = ("--ready", "alive", "--period", "50ms")
    with Wrapped(SPEAKER, *options, inbox=inbox, watchdog_s=60) as wrapper:
        assert wrapper.line().startswith("started")
        inbox.wait("READY", "1")
        wrapper.tell("flood 20000 STATUS=x\\nX_OWN=" + "y" * 1000)
        for _ in range(3):
            began = time.monotonic()
            inbox.wait("WATCHDOG", "1")
            assert time.monotonic() - began < 1.0
        wrapper.signal(signal.SIGTERM)
        assert wrapper.end() == -signal.SIGTERM
