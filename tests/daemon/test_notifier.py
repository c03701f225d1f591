"""What a daemon says through the library arrives, once, as systemd reads it; and never harms it."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

import notifywrap
from notifywrap.daemon.notifier import Notifier
from notifywrap.errors import NotifyError
from notifywrap.protocol.wire import parse
from tests.runtime.wrapped import ROOT, Inbox, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAYINGS: dict[str, tuple[Callable[[Notifier], bool], dict[str, str]]] = {
    "ready": (lambda n: n.ready("up"), {"READY": "1", "STATUS": "up"}),
    "status": (lambda n: n.status("3 clients"), {"STATUS": "3 clients"}),
    "stopping": (lambda n: n.stopping(), {"STOPPING": "1"}),
    "ping": (lambda n: n.ping(), {"WATCHDOG": "1"}),
    "trigger": (lambda n: n.trigger_watchdog(), {"WATCHDOG": "trigger"}),
    "extend": (lambda n: n.extend_timeout(1.5), {"EXTEND_TIMEOUT_USEC": "1500000"}),
    "errno": (lambda n: n.errno(28), {"ERRNO": "28"}),
    "main_pid": (lambda n: n.main_pid(7), {"MAINPID": "7"}),
    "remove": (lambda n: n.remove_fds("a"), {"FDSTOREREMOVE": "1", "FDNAME": "a"}),
}


@pytest.fixture
def notifier(inbox: Inbox) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": inbox.path, "WATCHDOG_USEC": "2000000"})


@pytest.mark.parametrize("name", SAYINGS)
def test_each_method_says_its_assignments(inbox: Inbox, notifier: Notifier, name: str):
    """One datagram each, and True: systemd has it."""
    say, wanted = SAYINGS[name]
    assert say(notifier) is True
    assert inbox.next() == wanted


@pytest.mark.parametrize("name", SAYINGS)
def test_nothing_happens_where_there_is_no_systemd(name: str):
    """The same daemon runs in a container and in a terminal."""
    say, _ = SAYINGS[name]
    assert say(Notifier({})) is False
    assert Notifier({}).watchdog_s is None


def test_nothing_brings_the_watchdog_back_once_it_stops(inbox: Inbox, notifier: Notifier):
    """A daemon that was told to stop in the middle of a reload would be killed while it drains."""
    with notifier.reload():
        notifier.stopping("draining")
    assert inbox.wait("STOPPING", "1")["STATUS"] == "draining"
    assert not notifier.ready("up")
    assert not notifier.reloading()
    assert not notifier.ping()
    assert notifier.status("3 clients left")
    assert inbox.next() == {"STATUS": "3 clients left"}


def test_a_ready_that_was_not_heard_is_none(inbox: Inbox, notifier: Notifier):
    """Pings after it would arm the watchdog of a service that is still starting."""
    inbox.vanish()
    with pytest.raises(NotifyError):
        notifier.ready()
    assert not notifier.is_ready


def test_reload_is_announced_with_its_time_and_always_ends(inbox: Inbox, notifier: Notifier):
    """An exception in the middle must not leave `systemctl reload` waiting."""
    before = time.clock_gettime(time.CLOCK_MONOTONIC)

    def reload() -> None:
        with notifier.reload():
            said = inbox.next()
            assert said["RELOADING"] == "1"
            assert int(said["MONOTONIC_USEC"]) >= int(before * 1e6)
            raise KeyError("port")

    with pytest.raises(KeyError, match="port"):
        reload()
    assert inbox.next() == {"READY": "1", "STATUS": "reload failed: KeyError('port')"}


@pytest.mark.parametrize(
    "text", ["a\nREADY=1", "a\0b", "x" * 1_000_000, "\udcff\ud800", "\x1b[31m", "tail\\", ""]
)
def test_status_from_outside_stays_one_line(inbox: Inbox, notifier: Notifier, text: str):
    """It may hold what a client sent: it must neither add an assignment nor be dropped whole."""
    assert notifier.status(text) is True
    inbox.socket.settimeout(5)
    message = parse(inbox.socket.recv(65536))
    assert [key for key, _ in message.assignments] == ["STATUS"]


def test_environment_is_read_once(inbox: Inbox, monkeypatch: pytest.MonkeyPatch):
    """`unset=True` hides the socket from children, and does not disable what is sent later."""
    monkeypatch.setenv("NOTIFY_SOCKET", inbox.path)
    notifier = Notifier(unset=True)
    assert "NOTIFY_SOCKET" not in os.environ
    assert notifier.ready() is True
    assert inbox.next() == {"READY": "1"}


@pytest.mark.parametrize("in_children", [False, True])
def test_forked_child_does_not_speak_for_its_parent(inbox: Inbox, in_children: bool):
    """Else a worker would keep a hung parent alive."""
    env = {"NOTIFY_SOCKET": inbox.path, "WATCHDOG_USEC": "2000000"}
    notifier = Notifier(env, in_children=in_children)
    if (pid := os.fork()) == 0:
        os._exit(10 * notifier.ping() + (notifier.watchdog_s is not None))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == (11 if in_children else 0)
    assert len(inbox.drain()) == in_children


def test_full_queue_is_an_error_after_100_ms_and_not_a_hang(inbox: Inbox, notifier: Notifier):
    """PID 1 is busy, or stopped: the daemon goes on."""
    inbox.stuff()
    began = time.monotonic()
    with pytest.raises(notifywrap.NotifyError, match="queue"):
        notifier.ready()
    assert time.monotonic() - began < 5.0  # 0.1 s, on a machine that is not starved


def test_socket_that_has_gone_is_an_error_of_ours(inbox: Inbox, notifier: Notifier):
    """Nothing but NotifyError has to be caught."""
    inbox.vanish()
    with pytest.raises(notifywrap.NotifyError):
        notifier.ready()


def test_descriptors_are_stored_under_their_name(inbox: Inbox, notifier: Notifier, tmp_path: Path):
    """systemd keeps copies: the daemon's own stay open."""
    with (tmp_path / "state").open("w") as file:
        assert notifier.store_fds([file], "state", poll=False) is True
        message, fds, _, _ = socket.recv_fds(inbox.socket, 4096, 4)
        assert message == b"FDSTORE=1\nFDNAME=state\nFDPOLL=0"
        assert os.path.sameopenfile(fds[0], file.fileno())
        os.close(fds[0])


def test_barrier_waits_until_what_was_sent_has_been_read(inbox: Inbox, notifier: Notifier):
    """A program that ends right after its last word is unknown to systemd otherwise."""

    def read() -> None:
        _, fds, _, _ = socket.recv_fds(inbox.socket, 4096, 1)
        os.close(fds[0])

    inbox.socket.settimeout(10)
    reader = threading.Thread(target=read)
    reader.start()
    assert notifier.barrier() is True
    reader.join()


def test_barrier_that_nobody_answers_is_an_error(notifier: Notifier):
    """It says how long it has waited."""
    with pytest.raises(notifywrap.NotifyError, match=r"within 0\.05 s"):
        notifier.barrier(0.05)


def test_functions_speak_for_this_process(inbox: Inbox):
    """The whole of it in one line of a daemon."""
    words = "import notifywrap as n; print(n.ready('up'), n.stopping())"
    env = clean_environment(NOTIFY_SOCKET=inbox.path)
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", words], env), 0)
    assert inbox.drain() == [{"READY": "1", "STATUS": "up"}, {"STOPPING": "1"}]


def test_import_brings_nothing_along():
    """It is imported by everything that uses it, under systemd or not."""
    words = (
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules);"
        "import notifywrap;"
        "extra = set(sys.modules) - before - {'notifywrap', '__future__'}; assert not extra, extra"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-I", "-c", words]) == 0


def test_every_name_that_is_promised_is_there():
    """They are loaded on first use: a typo would show only then."""
    for name in notifywrap.__all__:
        assert getattr(notifywrap, name)
    with pytest.raises(AttributeError, match="nonsense"):
        notifywrap.nonsense  # noqa: B018
