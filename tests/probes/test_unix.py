"""`unix:` as `tcp:`: accepted, not only connected."""

from __future__ import annotations

import os

import pytest

from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import UnixProbe
from notifywrap.probes import open_attempt


@pytest.fixture(params=["path", "abstract"])
def path(request, tmp_path) -> str:
    """Both kinds of name that a unix socket has."""
    return str(tmp_path / "s") if request.param == "path" else f"@notifywrap-test-{os.getpid()}"


def probe(path: str) -> UnixProbe:
    return UnixProbe(f"unix:{path}", path)


def test_a_server_that_accepts_passes(spawn, path, attempt, targets, each_way):
    """The main case, for both kinds of names and both ways to the kernel's tables."""
    server = spawn("s = listen_unix(sys.argv[1]); say('up'); accept_for_ever(s)", path)
    assert server.line() == "up"
    sample = attempt(probe(path), targets(server.pid, sockets=each_way()))
    assert (sample.outcome, sample.note) == (Outcome.PASSED, "")


def test_a_server_that_never_accepts_times_out(spawn, path, attempt, targets, each_way):
    """connect() succeeds as soon as the queue has room; the peer's inode is 0 until accept()."""
    server = spawn("s = listen_unix(sys.argv[1]); say('up'); input()", path)
    assert server.line() == "up"
    sample = attempt(probe(path), targets(server.pid, sockets=each_way()), timeout_s=0.3)
    assert sample.outcome is Outcome.TIMED_OUT
    assert sample.reason == f"{path} not accepted"


def test_a_server_that_accepts_and_closes_at_once_passes(spawn, path, attempt, targets, each_way):
    """Its end is gone when we look: the end of file it leaves is the evidence."""
    server = spawn(
        "s = listen_unix(sys.argv[1]); say('up')\nwhile True: s.accept()[0].close()", path
    )
    assert server.line() == "up"
    target = targets(server.pid, sockets=each_way())
    assert {attempt(probe(path), target).outcome for _ in range(30)} == {Outcome.PASSED}


def test_a_full_queue_times_out_with_few_wakeups(spawn, path, targets, drive):
    """connect() says EAGAIN, and there is no event for "has room again": looking must slow down."""
    server = spawn(
        """
        s = listen_unix(sys.argv[1], 0); c = socket.socket(socket.AF_UNIX)
        c.connect(s.getsockname()); say("up"); input()
        """,
        path,
    )
    assert server.line() == "up"
    driven = drive(open_attempt(probe(path), targets(server.pid)), 0.5)
    assert driven.sample.outcome is Outcome.TIMED_OUT
    assert "its queue is full" in driven.sample.reason
    assert driven.wakeups < 20


def test_a_queue_that_gets_room_again_passes(spawn, path, attempt, targets):
    """A burst of clients is no failure."""
    server = spawn(
        """
        s = listen_unix(sys.argv[1], 0); c = socket.socket(socket.AF_UNIX)
        c.connect(s.getsockname()); say("up"); input(); s.accept(); accept_for_ever(s)
        """,
        path,
    )
    assert server.line() == "up"
    target = targets(server.pid)
    attempt_ = open_attempt(probe(path), target)
    assert attempt_.advance() is None
    attempt_.close()
    server.tell()
    assert attempt(probe(path), target).outcome is Outcome.PASSED


def test_nobody_there_is_unheard(path, attempt):
    """No socket yet, as at every start."""
    sample = attempt(probe(path))
    assert sample.outcome is Outcome.FAILED
    assert sample.unheard


def test_a_path_that_cannot_be_a_socket_is_broken(attempt):
    """108 bytes are all that sockaddr_un has."""
    sample = attempt(probe("/" + "x" * 200))
    assert sample.outcome is Outcome.BROKEN


def test_a_socket_that_somebody_else_holds_fails(spawn, path, attempt, targets, each_way):
    """A stale instance must not answer for the target."""
    other = spawn("s = listen_unix(sys.argv[1]); say('up'); accept_for_ever(s)", path)
    target = spawn("say('up'); input()")
    assert (other.line(), target.line()) == ("up", "up")
    probed = targets(target.pid, sockets=each_way())
    probed.strangers.add(other.pid)
    sample = attempt(probe(path), probed)
    assert sample.outcome is Outcome.FAILED
    assert "held by another process" in sample.reason


def test_a_socket_file_that_was_renamed_is_still_the_targets(spawn, tmp_path, attempt, targets):
    """Bind under a temporary name, then rename.

    Done so that no client meets a socket without a listener.
    """
    path = str(tmp_path / "s")
    server = spawn(
        """
        s = listen_unix(sys.argv[1] + ".new"); os.rename(sys.argv[1] + ".new", sys.argv[1])
        say("up"); accept_for_ever(s)
        """,
        path,
    )
    assert server.line() == "up"
    assert attempt(probe(path), targets(server.pid)).outcome is Outcome.PASSED
