"""The socket for the target's own notifications: whose word is taken, and what is none."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from notifywrap.policy.events import Level, Notify, TargetNotified
from notifywrap.probes.target import Target
from notifywrap.protocol.notify import Notifier, parse_address
from notifywrap.runtime import relay
from notifywrap.runtime.loop import Loop
from notifywrap.runtime.mailbox import invite, open_mailbox
from notifywrap.runtime.outbox import MANY, MANY_FDS, Outbox
from notifywrap.runtime.relay import Relay
from tests.runtime.wrapped import Inbox, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.policy.events import Event

# Says one thing and stays, so that it can be found out who it is.
SPEAKER = """
import os, socket, sys
address, fork, text = sys.argv[1:]
for _ in range(int(fork)):
    if os.fork():
        os.wait() if int(fork) == 1 else os._exit(0)
mouth = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
mouth.sendto(text.encode(), "\\0" + address[1:])
sys.stdin.read()
"""


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


class Ear:
    """A relay as the supervisor has it; the target is this process unless told otherwise."""

    def __init__(self, target: Target | None = None) -> None:
        self.lines: list[tuple[Level, str]] = []
        self.events: list[Event] = []
        self.mailbox = open_mailbox()
        self.relay = Relay(self.mailbox, lambda level, text: self.lines.append((level, text)))
        self.env: dict[str, str] = {}
        invite(self.mailbox, self.env, 3.0)
        self.target = target or Target(os.getpid())
        self.loop = Loop()
        self.relay.attach(self.loop, self.events.append, self.target)
        self.mouth = Notifier(self.env["NOTIFY_SOCKET"])

    def turn(self) -> list[TargetNotified]:
        """What one turn of the loop brings: nothing, when nobody has said anything."""
        self.loop.wait(time.monotonic())
        events = self.events[:]
        self.events.clear()
        return events  # type: ignore[return-value]

    def hear(self) -> TargetNotified:
        """Wait for one message."""
        (event,) = until(self.turn, "a message")
        return event

    def said(self) -> str:
        """The only line that was said."""
        ((level, text),) = self.lines
        assert level is Level.NOTICE
        return text

    def close(self) -> None:
        self.mouth.close()
        self.relay.close()


@pytest.fixture
def ear() -> Iterator[Ear]:
    one = Ear()
    yield one
    one.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


# --- what the target finds, and says --------------------------------------------------------------


def test_the_target_finds_an_address_that_everyone_understands(ear: Ear):
    """libsystemd takes /path and @name; and a name that is short fits everywhere."""
    assert parse_address(ear.env["NOTIFY_SOCKET"]).peer[:1] == b"\0"  # type: ignore[index]
    assert ear.env["WATCHDOG_USEC"] == "3000000"
    assert ear.env["WATCHDOG_PID"] == ""  # spawn() puts the target's pid there
    env: dict[str, str] = {}
    invite(ear.mailbox, env, None)
    assert list(env) == ["NOTIFY_SOCKET"]


def test_no_descriptor_of_it_reaches_the_target(ear: Ear, pipe: tuple[int, int]):
    """Who inherits the socket could read what others say, and keep the senders waiting."""
    assert not os.get_inheritable(ear.relay._socket.fileno())
    ear.mouth.send(b"FDSTORE=1", pipe)
    event = ear.hear()
    assert not any(os.get_inheritable(fd) for fd in event.fds)
    for fd in event.fds:
        os.close(fd)


def test_messages_come_in_order_with_their_descriptors(ear: Ear, pipe: tuple[int, int]):
    """READY=1 before RELOADING=1 means something else than after it."""
    reader, writer = pipe
    ear.mouth.send(b"READY=1\nSTATUS=up: caf\xc3\xa9\nX_OWN=1")
    ear.mouth.send(b"FDSTORE=1\nFDNAME=one", (writer,))
    ear.mouth.send(b"STOPPING=1")
    first, second = ear.turn()
    assert first == TargetNotified((("READY", "1"), ("STATUS", "up: café"), ("X_OWN", "1")))
    assert second.assignments == (("FDSTORE", "1"), ("FDNAME", "one"))
    (copy,) = second.fds
    os.write(copy, b"it is the same pipe")
    os.close(copy)
    assert os.read(reader, 100) == b"it is the same pipe"
    assert ear.turn() == [TargetNotified((("STOPPING", "1"),))]
    assert ear.lines == []


# --- who is heard ---------------------------------------------------------------------------------


def speaker(ear: Ear, fork: int = 0) -> subprocess.Popen[bytes]:
    """A process that says READY=1 to *ear*: itself, a child of it, or (2) one that it orphans."""
    words = [sys.executable, "-ISc", SPEAKER, ear.env["NOTIFY_SOCKET"], str(fork), "READY=1"]
    return subprocess.Popen(words, stdin=subprocess.PIPE)


@pytest.mark.parametrize("fork", [0, 1], ids=["child", "grandchild"])
def test_the_whole_tree_of_the_target_is_heard(ear: Ear, fork: int):
    """A worker, or `systemd-notify` in a start script: systemd hears them with NotifyAccess=all."""
    with speaker(ear, fork):
        assert ear.hear().assignments == (("READY", "1"),)
    assert ear.lines == []


def test_an_orphan_of_the_target_is_heard():
    """A daemon that puts itself into the background is the wrapper's child, as its subreaper's."""
    stand_in = Target(pid=2**22 + 1)  # a target that is nobody's parent any more
    ear = Ear(stand_in)
    with speaker(ear):
        assert ear.hear().assignments == (("READY", "1"),)
    ear.close()


def test_an_exec_probe_is_not_the_target(ear: Ear):
    """It would vouch for what it is to find out."""
    ear.target.pid = 2**22 + 1
    with speaker(ear, fork=1) as probe:
        ear.target.strangers.add(probe.pid)
        until(lambda: ear.turn() or ear.lines, "a line")
        assert ear.events == []
    assert "not of the target's tree" in ear.said()


def test_who_is_not_of_the_tree_is_not_heard_and_named_once(pipe: tuple[int, int]):
    """The address is open to every process: anybody could make the service ready, or stop it."""
    with subprocess.Popen(["sleep", "1000"]) as target:
        ear = Ear(Target(target.pid))
        before = descriptors()
        for number in range(200):
            ear.mouth.send(b"READY=1\nSTATUS=%d" % number, pipe)
            assert ear.turn() == []
        assert descriptors() == before
        assert f"by process {os.getpid()} ignored: not of the target's tree" in ear.said()
        ear.close()
        target.kill()


def test_who_has_gone_cannot_be_vouched_for(ear: Ear):
    """Its pid may be somebody else's by now; systemd itself has the same trouble."""
    ear.target.pid = 2**22 + 1
    sender = speaker(ear)
    assert sender.stdin
    sender.stdin.close()
    sender.wait()
    assert ear.turn() == []
    assert f"by process {sender.pid} ignored: it has ended" in ear.said()


# --- what is dropped ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        pytest.param(b"READY=1\nSTATUS=" + b"x" * 4082, "longer than 4096", id="4097 bytes"),
        pytest.param(b"READY=1\n" + b"x" * 60_000, "longer than 4096", id="60 kB"),
        pytest.param(b"READY=1\0\nSTATUS=x", "NUL", id="NUL"),
        pytest.param(b"READY=1\nSTATUS=C:\\", "backslash", id="backslash at the end"),
    ],
)
def test_what_systemd_drops_is_dropped_and_said_once(
    ear: Ear, pipe: tuple[int, int], datagram: bytes, reason: str
):
    """A message is taken as systemd would take it, or not at all; nobody reads a flood of lines."""
    before = descriptors()
    for _ in range(20):
        ear.mouth.send(datagram, pipe)
        assert ear.turn() == []
    assert reason in ear.said()
    assert descriptors() == before


def test_the_longest_message_is_taken(ear: Ear):
    """4096 bytes are what systemd reads."""
    ear.mouth.send(b"STATUS=" + b"x" * 4089)
    assert len(ear.hear().assignments[0][1]) == 4089


def test_a_status_that_is_not_utf8_takes_nothing_else_with_it(ear: Ear):
    """systemd clears the text then, but goes by the READY=1 beside it."""
    for _ in range(3):
        ear.mouth.send(b"READY=1\nSTATUS=caf\xe9\nX_BYTES=\xff")
        assert ear.hear().assignments == (("READY", "1"), ("X_BYTES", "\N{REPLACEMENT CHARACTER}"))
    assert "not valid UTF-8" in ear.said()


def test_after_a_flood_it_rests(ear: Ear, monkeypatch: pytest.MonkeyPatch):
    """Signals and probes must not wait, nor a core be busy, until somebody stops talking."""
    monkeypatch.setattr(relay, "WINDOW_S", 0.5)  # time enough to send so many
    for _ in range(relay.MOST):
        assert ear.relay.next_deadline() is None
        assert ear.mouth.send(b"STATUS=x")
        assert len(ear.turn()) == 1
    assert ear.mouth.send(b"READY=1")
    assert ear.turn() == []
    due = ear.relay.next_deadline()
    assert due is not None
    assert ear.loop.wait(due) < 0.5
    ear.relay.wake(time.monotonic())
    assert ear.hear().assignments == (("READY", "1"),)
    assert ear.relay.next_deadline() is None


def test_descriptors_are_taken_one_message_at_a_time(ear: Ear):
    """A process has 1024 of them by default, and the probes need theirs."""
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        for _ in range(3):
            ear.mouth.send(b"FDSTORE=1", [null] * 253)
        before = descriptors()
        for _ in range(3):
            (event,) = ear.turn()
            assert len(event.fds) == descriptors() - before == 253
            for fd in event.fds:
                os.close(fd)
    finally:
        os.close(null)
    assert ear.lines == []


def test_more_descriptors_than_fit_are_none(ear: Ear, pipe: tuple[int, int]):
    """Half of a set in systemd's store would be taken for the whole after a restart."""
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for _ in range(2):
        ear.mouth.send(b"FDSTORE=1", pipe * 4)
        free = set(range(soft)) - set(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (sorted(free)[3], hard))  # room for three
        try:
            assert ear.turn() == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "too many open files" in ear.said()
    assert descriptors() == before


# --- when --------------------------------------------------------------------------------------


def test_nothing_is_read_while_too_much_waits_for_systemd(ear: Ear):
    """Memory for what a busy PID 1 cannot take is the sender's, who waits as he would for it."""
    ear.relay.hold(is_crowded=True)
    ear.mouth.send(b"READY=1")
    assert ear.turn() == []
    ear.relay.hold(is_crowded=False)
    assert len(ear.turn()) == 1


def test_last_words_are_marked(ear: Ear):
    """READY=1 of a process that has ended since must make nothing ready; its STATUS says why."""
    for text in (b"READY=1", b"STATUS=out of memory"):
        ear.mouth.send(text)
    ear.relay.drain()
    assert ear.events == [
        TargetNotified((("READY", "1"),), dying=True),
        TargetNotified((("STATUS", "out of memory"),), dying=True),
    ]


# --- on to systemd --------------------------------------------------------------------------------


def test_descriptors_go_on_in_order_and_are_closed(tmp_path, pipe: tuple[int, int]):
    """A barrier means that all before it was read: so it waits behind what waits."""
    reader, writer = pipe
    with Inbox(tmp_path / "notify") as inbox, Notifier(inbox.path) as notifier:
        outbox = Outbox(notifier)
        before = descriptors()
        inbox.stuff()
        outbox.put(Notify((("STATUS", "before"),), None), 0.0)
        outbox.put(Notify((("BARRIER", "1"),), None, (os.dup(writer),)), 0.0)
        assert not outbox.is_crowded
        for _ in range(inbox.stuffed):
            inbox.next()
        due = outbox.next_deadline()
        assert due is not None
        outbox.flush(due)
        assert descriptors() == before
        assert inbox.next() == {"STATUS": "before"}
        data, fds, _, _ = socket.recv_fds(inbox.socket, 100, 9)
        assert data == b"BARRIER=1"
        os.write(fds[0], b"x")
        os.close(fds[0])
        assert os.read(reader, 9) == b"x"


@pytest.mark.parametrize("fate", ["stale", "given up", "closed", "too long", "no systemd"])
def test_descriptors_that_cannot_be_sent_are_closed(tmp_path, pipe: tuple[int, int], fate: str):
    """Who waits for a barrier must not wait for ever, and nothing may pile up."""
    with Inbox(tmp_path / "notify") as inbox, Notifier(inbox.path) as notifier:
        outbox = Outbox(None if fate == "no systemd" else notifier)
        before = descriptors()
        inbox.stuff()
        many = tuple(("X", "y" * 255) for _ in range(20)) if fate == "too long" else ()
        lasts_s = 1.0 if fate == "stale" else None
        for _ in range(3):
            outbox.put(Notify((("FDSTORE", "1"), *many), lasts_s, (os.dup(pipe[1]),)), 0.0)
        if fate == "stale":
            outbox.flush(2.0)
        elif fate == "given up":
            inbox.vanish()
            inbox.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)  # that is for good
            inbox.socket.bind(inbox.path)
            outbox.flush(0.0)
            assert "cannot reach systemd" in outbox.trouble
        elif fate == "closed":
            outbox.close()
        assert outbox.trouble or fate not in ("given up", "too long")
        assert outbox.next_deadline() is None
        assert descriptors() == before


def test_what_waits_makes_it_crowded(tmp_path):
    """The relay reads no more then: see above."""
    with Inbox(tmp_path / "notify") as inbox, Notifier(inbox.path) as notifier:
        outbox = Outbox(notifier)
        inbox.stuff()
        for _ in range(MANY):
            assert not outbox.is_crowded
            outbox.put(Notify((("STATUS", "x"),), None), 0.0)
        assert outbox.is_crowded
        while outbox.next_deadline() is not None:
            inbox.drain()
            outbox.flush(1.0)
        assert not outbox.is_crowded


def test_many_descriptors_make_it_crowded_at_once(tmp_path, pipe: tuple[int, int]):
    """Each is one of the 1024 that a process has."""
    with Inbox(tmp_path / "notify") as inbox, Notifier(inbox.path) as notifier:
        outbox = Outbox(notifier)
        inbox.stuff()
        fds = tuple(os.dup(pipe[1]) for _ in range(MANY_FDS))
        outbox.put(Notify((("FDSTORE", "1"),), None, fds), 0.0)
        assert outbox.is_crowded
        outbox.close()
        assert not outbox.is_crowded
