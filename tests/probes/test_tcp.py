"""`tcp:` passes when the application has accepted, not when the kernel has shaken hands."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from notifywrap.policy.events import Outcome
from notifywrap.probes import open_attempt
from tests.ports import free_port

ACCEPTS = "accept_for_ever(say_port(listen()))"
HANGS = "s = say_port(listen()); input()"


def test_a_server_that_accepts_passes(spawn, tcp, attempt, targets, each_way):
    """The main case, with nothing left open to doubt."""
    server = spawn(ACCEPTS)
    sample = attempt(tcp(server.port()), targets(server.pid, sockets=each_way()))
    assert (sample.outcome, sample.note) == (Outcome.PASSED, "")


def test_a_server_that_never_accepts_times_out(spawn, tcp, attempt, targets, each_way):
    """The kernel completes the handshake for it: connect() alone would call this healthy."""
    server = spawn(HANGS)
    sample = attempt(tcp(server.port()), targets(server.pid, sockets=each_way()), timeout_s=0.4)
    assert sample.outcome is Outcome.TIMED_OUT
    assert sample.reason.endswith("not accepted")


def test_a_stopped_server_times_out_and_passes_again_when_continued(spawn, tcp, attempt, targets):
    """What SIGSTOP does to a daemon is the plainest hang; it must end when the hang ends."""
    server = spawn(ACCEPTS)
    probe, target = tcp(server.port()), targets(server.pid)
    server.freeze()
    assert attempt(probe, target, timeout_s=0.3).outcome is Outcome.TIMED_OUT
    os.kill(server.pid, 18)
    assert attempt(probe, target).outcome is Outcome.PASSED


def test_a_server_that_accepts_late_passes_as_soon_as_it_does(spawn, tcp, targets):
    """The attempt keeps looking until its timeout: a slow accept is not a failed one."""
    server = spawn("s = say_port(listen()); input(); c = s.accept(); say('accepted'); input()")
    attempt = open_attempt(tcp(server.port()), targets(server.pid))
    assert attempt.advance() is None
    assert attempt.advance() is None
    server.tell()
    assert server.line() == "accepted"
    sample = attempt.advance()
    attempt.close()
    assert sample is not None
    assert sample.outcome is Outcome.PASSED


def test_a_full_queue_times_out(listener, tcp, attempt):
    """A server that hangs long enough does not even get our SYN any more."""
    listener.listen(0)
    port = listener.getsockname()[1]
    crowd = [socket.socket() for _ in range(4)]
    for one in crowd:
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
    sample = attempt(tcp(port), timeout_s=0.3)
    assert sample.outcome is Outcome.TIMED_OUT
    assert "does not take the connection" in sample.reason
    for one in crowd:
        one.close()


@pytest.mark.parametrize("says_first", ["", "c.send(b'bye');"])
def test_a_server_that_accepts_and_closes_at_once_passes(spawn, tcp, attempt, targets, says_first):
    """Its end of the connection has inode 0 again, as before accept().

    The state tells them apart.
    """
    server = spawn(
        f"s = say_port(listen())\nwhile True:\n    c = s.accept()[0]; {says_first} c.close()"
    )
    probe, target = tcp(server.port()), targets(server.pid)
    for _ in range(50):
        sample = attempt(probe, target)
        assert (sample.outcome, sample.note) == (Outcome.PASSED, "")


def test_a_banner_is_evidence_and_reading_it_spares_the_server_a_reset(spawn, tcp, attempt):
    """SSH, SMTP, MySQL speak first.

    The greeting proves the accept, and must not be answered with RST.
    """
    server = spawn(
        """
        s = say_port(listen()); c = s.accept()[0]; c.send(b"SSH-2.0-x\\r\\n" * 3000)
        try:
            while c.recv(100): pass
            say("closed")
        except OSError as error:
            say(error)
        """
    )
    assert attempt(tcp(server.port())).outcome is Outcome.PASSED
    assert server.line() == "closed"


@pytest.mark.slow
def test_a_server_that_defers_accepting_passes(spawn, tcp, attempt, targets, each_way):
    """Apache's default: accept() waits for data, but our end of the connection will do as well."""
    server = spawn("accept_for_ever(say_port(listen(defer=True)))")
    probe, target = tcp(server.port()), targets(server.pid, sockets=each_way())
    for _ in range(3):
        sample = attempt(probe, target)
        assert (sample.outcome, sample.note) == (Outcome.PASSED, "")


def test_a_server_that_defers_accepting_and_hangs_times_out(spawn, tcp, attempt, targets, each_way):
    """Going by its process alone would call Apache healthy whose workers all hang."""
    server = spawn("s = say_port(listen(defer=True)); input()")
    probe, target = tcp(server.port()), targets(server.pid, sockets=each_way())
    sample = attempt(probe, target, timeout_s=0.4)
    assert (sample.outcome, sample.note) == (Outcome.TIMED_OUT, "")
    assert sample.reason.endswith("not accepted")


def test_a_server_that_resets_passes_with_a_note(spawn, tcp, attempt, targets):
    """SO_LINGER 0 on the server's side: somebody did something, but the evidence is gone."""
    server = spawn(
        """
        s = say_port(listen())
        while True:
            c = s.accept()[0]
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); c.close()
        """
    )
    sample = attempt(tcp(server.port()), targets(server.pid))
    assert sample.outcome is Outcome.PASSED


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("hangs", [False, True])
def test_a_dual_stack_server_is_judged_on_both_families(
    spawn, tcp, attempt, targets, each_way, host, hangs
):
    """Go servers listen on [::] only.

    An IPv4 client's peer is then an AF_INET6 socket in the kernel.
    """
    server = spawn("s = say_port(listen('::')); " + ("input()" if hangs else "accept_for_ever(s)"))
    target = targets(server.pid, sockets=each_way())
    sample = attempt(tcp(server.port(), host), target, timeout_s=0.4 if hangs else 5)
    assert sample.outcome is (Outcome.TIMED_OUT if hangs else Outcome.PASSED)
    assert sample.note == ""


def test_so_reuseport_workers_pass(spawn, tcp, attempt, targets):
    """Several sockets listen on one port, each in a process of its own; all belong to the tree."""
    server = spawn(
        """
        s = say_port(listen(reuse_port=True)); port = s.getsockname()[1]
        for _ in range(3):
            if os.fork() == 0:
                s.close(); s = listen(port=port, reuse_port=True); break
        say("up"); accept_for_ever(s)
        """
    )
    probe, target = tcp(server.port()), targets(server.pid)
    assert [server.line() for _ in range(4)] == ["up"] * 4
    assert {attempt(probe, target).outcome for _ in range(40)} == {Outcome.PASSED}


def test_refused_names_every_address_and_is_unheard(tcp, attempt):
    """STATUS must say what to fix; nobody was disturbed, so it may be tried again soon."""
    port = free_port()
    sample = attempt(tcp(port, "127.0.0.1", "::1"))
    assert sample.outcome is Outcome.FAILED
    assert sample.unheard
    assert sample.reason == f"127.0.0.1:{port} connection refused, [::1]:{port} connection refused"


def test_the_second_address_counts_when_the_first_refuses(spawn, tcp, attempt):
    """`localhost` is ::1 and 127.0.0.1, and a daemon often listens on one of them only."""
    server = spawn(ACCEPTS)
    assert attempt(tcp(server.port(), "::1", "127.0.0.1")).outcome is Outcome.PASSED


def test_a_connection_to_itself_fails(tcp, attempt):
    """An ephemeral port without a listener can connect to itself.

    Ready by accident, and the port is taken.
    """
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    probe = tcp((low + high) // 2 & ~1)
    for _ in range(200_000):
        sample = attempt(probe)
        assert sample.outcome is Outcome.FAILED
        if "itself" in sample.reason:
            return
    pytest.fail("no connection met itself in 200 000 tries")


def test_a_port_that_somebody_else_holds_fails(spawn, tcp, attempt, targets, each_way):
    """A stale instance answers in the target's place: that must not make the target ready."""
    other, target = spawn(ACCEPTS), spawn("say('up'); input()")
    assert target.line() == "up"
    port, probed = other.port(), targets(target.pid, sockets=each_way())
    probed.strangers.add(other.pid)  # it is our child here, and would pass for the target's orphan
    sample = attempt(tcp(port), probed)
    assert sample.outcome is Outcome.FAILED
    assert sample.reason.startswith(
        f"127.0.0.1:{port} held by another process (pid {other.pid} python"
    )


def test_an_inherited_listener_that_is_accepted_on_passes(spawn, tcp, attempt, targets):
    """Socket activation: that it listens proves nothing, that somebody accepts does."""
    server = spawn("s = say_port(listen()); say(os.fstat(s.fileno()).st_ino); accept_for_ever(s)")
    port, inode = server.port(), server.port()
    assert attempt(tcp(port), targets(server.pid, frozenset({inode}))).outcome is Outcome.PASSED


def test_the_server_sees_an_orderly_end(spawn, tcp, attempt):
    """A reset would be an error in the daemon's log at every round."""
    server = spawn("s = say_port(listen()); c = s.accept()[0]; say(c.recv(1)); input()")
    assert attempt(tcp(server.port())).outcome is Outcome.PASSED
    assert server.line() == "b''"


def test_three_wakeups_are_enough_for_a_server_that_accepts(spawn, tcp, targets, drive):
    """The steady state's budget: at most 3 per live round, the one that starts it included."""
    server = spawn(ACCEPTS)
    probe, target = tcp(server.port()), targets(server.pid)
    wakeups = sorted(drive(open_attempt(probe, target)).wakeups for _ in range(50))
    assert wakeups[25] <= 2
    assert wakeups[45] <= 3


def test_a_hung_server_costs_few_wakeups(listener, tcp, targets, drive):
    """Waiting for a server that hangs must not become a poll loop."""
    attempt = open_attempt(tcp(listener.getsockname()[1]), targets())
    assert drive(attempt, 1.0).wakeups <= 20


def test_attempts_leave_no_fd_behind(listener, tcp, attempt, targets):
    """One leaked descriptor per round fills the table in a day."""
    port, nobody, target = listener.getsockname()[1], free_port(), targets()
    attempt(tcp(port), target, timeout_s=0.01)
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(20):
        attempt(tcp(port), target, timeout_s=0.001)
        attempt(tcp(nobody, "127.0.0.1", "::1"), target)
    assert sorted(os.listdir("/proc/self/fd")) == before
