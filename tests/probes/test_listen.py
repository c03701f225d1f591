"""`listen:` passes when the target's own process tree listens, without a connection."""

from __future__ import annotations

import os
import socket
import time

import pytest

from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import DiscoverProbe, ListenProbe, TcpProbe, UnixProbe
from notifywrap.probes.sockets import Blind

LISTENS = "s = say_port(listen(sys.argv[1])); input()"


def port_probe(port: int, host: str = "") -> ListenProbe:
    return ListenProbe(f"listen:{port}", host, port)


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::", "::1"])
def test_a_target_that_listens_passes(spawn, attempt, targets, each_way, bound):
    """Without accepting anything: no connection is made, no log line is caused."""
    server = spawn(LISTENS, bound)
    sample = attempt(port_probe(server.port()), targets(server.pid, sockets=each_way()))
    assert (sample.outcome, sample.note) == (Outcome.PASSED, "")


@pytest.mark.parametrize(
    ("bound", "asked", "passes"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "::1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "127.0.0.1", True),
        ("::", "::1", True),
        ("::1", "127.0.0.1", False),
    ],
)
def test_the_address_asked_for_must_be_served(spawn, attempt, targets, bound, asked, passes):
    """A wildcard serves all; another address does not count."""
    server = spawn(LISTENS, bound)
    sample = attempt(port_probe(server.port(), asked), targets(server.pid))
    assert (sample.outcome is Outcome.PASSED) == passes
    assert sample.unheard != passes


def test_a_child_of_the_target_counts(spawn, attempt, targets):
    """nginx, gunicorn and all that fork: a worker may be the one that listens."""
    server = spawn(
        """
        if os.fork() == 0:
            if os.fork() == 0:
                s = say_port(listen()); input()
            time.sleep(60)
        time.sleep(60)
        """
    )
    assert attempt(port_probe(server.port()), targets(server.pid)).outcome is Outcome.PASSED


def test_a_child_forked_by_another_thread_counts(spawn, attempt, targets):
    """/proc lists children by the thread that forked them."""
    server = spawn(
        """
        def fork():
            if os.fork() == 0:
                s = say_port(listen()); time.sleep(60)
            time.sleep(60)
        threading.Thread(target=fork).start()
        """
    )
    assert attempt(port_probe(server.port()), targets(server.pid)).outcome is Outcome.PASSED


def test_an_orphan_that_came_to_the_wrapper_counts_and_a_probes_child_does_not(
    spawn, attempt, targets
):
    """The wrapper is a subreaper.

    Its children are the target, orphans of the target, and exec probes.
    """
    target, orphan = spawn("input()"), spawn(LISTENS, "127.0.0.1")
    port = orphan.port()
    assert attempt(port_probe(port), targets(target.pid)).outcome is Outcome.PASSED
    probed = targets(target.pid)
    probed.strangers.add(orphan.pid)
    assert attempt(port_probe(port), probed).outcome is Outcome.FAILED


def test_a_port_held_by_another_process_fails_and_names_it(spawn, attempt, targets, each_way):
    """The classic false ready: the old instance still holds the port."""
    other, target = spawn(LISTENS, "127.0.0.1"), spawn("input()")
    port, probed = other.port(), targets(target.pid, sockets=each_way())
    probed.strangers.add(other.pid)
    sample = attempt(port_probe(port), probed)
    assert sample.outcome is Outcome.FAILED
    assert sample.reason.startswith(f"held by another process (pid {other.pid} python")
    assert not sample.unheard


def test_so_reuseport_beside_a_foreign_socket_passes(spawn, attempt, targets):
    """The old instance and the new one may hold the port together; the new one is the target."""
    other = spawn("s = say_port(listen(reuse_port=True)); input()")
    port = other.port()
    target = spawn(
        "s = say_port(listen(port=int(sys.argv[1]), reuse_port=True)); input()", str(port)
    )
    assert target.port() == port
    probed = targets(target.pid)
    probed.strangers.add(other.pid)
    assert attempt(port_probe(port), probed).outcome is Outcome.PASSED


def test_an_inherited_listener_is_no_evidence(spawn, attempt, targets):
    """With socket activation the socket listened before the target ran."""
    server = spawn("s = say_port(listen()); say(os.fstat(s.fileno()).st_ino); input()")
    port, inode = server.port(), server.port()
    sample = attempt(port_probe(port), targets(server.pid, frozenset({inode})))
    assert sample.outcome is Outcome.FAILED
    assert "inherited" in sample.reason


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_unix_socket_passes(spawn, attempt, targets, tmp_path, each_way, kind):
    """`listen:/path` and `listen:@name`."""
    path = str(tmp_path / "s") if kind == "path" else f"@notifywrap-listen-{os.getpid()}"
    server = spawn("s = listen_unix(sys.argv[1]); say('up'); input()", path)
    assert server.line() == "up"
    probe, target = (
        ListenProbe(f"listen:{path}", path=path),
        targets(server.pid, sockets=each_way()),
    )
    assert attempt(probe, target).outcome is Outcome.PASSED


def test_without_a_target_anybody_may_listen_and_the_note_says_so(spawn, attempt):
    """`notifywrap probe listen:80` has no target to ask for."""
    server = spawn(LISTENS, "127.0.0.1")
    sample = attempt(port_probe(server.port()))
    assert sample.outcome is Outcome.PASSED
    assert "not checked" in sample.note


def test_where_nothing_may_be_asked_it_is_broken(attempt, targets):
    """It can neither pass nor fail, and must say why."""
    sample = attempt(port_probe(1), targets(os.getpid(), sockets=Blind("all is barred")))
    assert sample.outcome is Outcome.BROKEN
    assert "all is barred" in sample.reason


def test_a_target_with_10_000_descriptors_passes(spawn, attempt, targets):
    """A loaded proxy: the walk over its fds must come to an end, and be remembered."""
    server = spawn(
        """
        import resource
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(min(hard - 100, 10000))]
        s = say_port(listen()); input()
        """
    )
    probe, target = port_probe(server.port()), targets(server.pid)
    assert attempt(probe, target).outcome is Outcome.PASSED
    began = time.thread_time()
    assert attempt(probe, target).outcome is Outcome.PASSED
    assert time.thread_time() - began < 0.005


# --- discovery ------------------------------------------------------------------------------------


def test_discovery_finds_what_the_tree_listens_on_in_a_fixed_order(
    spawn, attempt, targets, tmp_path, each_way
):
    """Zero-config: these are the probes that decide, so they must not change from look to look."""
    path = str(tmp_path / "s")
    server = spawn(
        """
        a = say_port(listen("0.0.0.0"))
        b = say_port(listen("::"))
        c = say_port(listen("127.0.0.2"))
        d = listen_unix(sys.argv[1]); say("up"); input()
        """,
        path,
    )
    a, b, c = server.port(), server.port(), server.port()
    assert server.line() == "up"
    wanted = [
        TcpProbe(f"tcp:127.0.0.1:{a}", (("127.0.0.1", a),)),
        TcpProbe(f"tcp:{b}", (("::1", b), ("127.0.0.1", b))),
        TcpProbe(f"tcp:127.0.0.2:{c}", (("127.0.0.2", c),)),
    ]
    target = targets(server.pid, sockets=each_way())
    sample = attempt(DiscoverProbe(), target)
    assert sample.outcome is Outcome.PASSED
    assert list(sample.found) == [
        UnixProbe(f"unix:{path}", path),
        *sorted(wanted, key=lambda probe: probe.addresses[0][1]),
    ]
    assert attempt(DiscoverProbe(), target) == sample


def test_discovery_finds_nothing_of_others(spawn, attempt, targets):
    """Every machine has listening sockets; only the target's count."""
    other, target = spawn(LISTENS, "127.0.0.1"), spawn("input()")
    other.port()
    probed = targets(target.pid)
    probed.strangers.add(other.pid)
    sample = attempt(DiscoverProbe(), probed)
    assert sample.outcome is Outcome.FAILED
    assert sample.unheard
    assert sample.reason == "no listening socket yet"


def test_discovery_sees_a_new_socket_at_the_first_look_after_it_listens(spawn, attempt, targets):
    """Looking is rationed, but a start must not wait for the ration."""
    server = spawn("input(); s = say_port(listen()); input()")
    target = targets(server.pid)
    for _ in range(20):
        assert attempt(DiscoverProbe(), target).outcome is Outcome.FAILED
    server.tell()
    port = server.port()
    deadline = time.monotonic() + 0.015
    while (sample := attempt(DiscoverProbe(), target)).outcome is not Outcome.PASSED:
        assert time.monotonic() < deadline
    assert [probe.text for probe in sample.found] == [f"tcp:127.0.0.1:{port}"]


def test_discovery_takes_inherited_sockets_too(spawn, attempt, targets):
    """The accept check that follows is real evidence for them."""
    server = spawn("s = say_port(listen()); say(os.fstat(s.fileno()).st_ino); input()")
    _, inode = server.port(), server.port()
    assert attempt(DiscoverProbe(), targets(server.pid, frozenset({inode}))).found


def test_polling_discovery_costs_at_most_2_percent_of_a_core(spawn, attempt, targets):
    """At the start's slowest pace (10 ms) one look may cost 200 us, foreign sockets or not."""
    other, server = spawn(LISTENS, "127.0.0.1"), spawn("input()")
    other.port()
    target = targets(server.pid)
    target.strangers.add(other.pid)
    attempt(DiscoverProbe(), target)
    began = time.thread_time()
    for _ in range(100):
        attempt(DiscoverProbe(), target)
    assert (time.thread_time() - began) / 100 < 0.0002


HIDES = """
import ctypes
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: as a program with file capabilities is
say("hidden"); input()
s = say_port(listen()); input()
"""


@pytest.fixture
def hidden(spawn, monkeypatch):
    """A target whose fds we may not see; as root we may, so then look away."""
    helper = spawn(HIDES)
    assert helper.line() == "hidden"
    if os.geteuid() == 0:
        listdir = os.listdir

        def refuse(path: str) -> list[str]:
            if path == f"/proc/{helper.pid}/fd":
                raise PermissionError(13, "Permission denied")
            return listdir(path)

        monkeypatch.setattr(os, "listdir", refuse)
    return helper


def test_a_target_whose_fds_are_hidden_is_known_by_its_user(hidden, attempt, targets):
    """A setcap daemon under an unprivileged wrapper: say what could not be checked, do not fail."""
    target = targets(hidden.pid)
    hidden.tell()
    port = hidden.port()
    sample = attempt(port_probe(port), target)
    assert sample.outcome is Outcome.PASSED
    assert "user id" in sample.note


def test_discovery_guesses_where_fds_are_hidden_and_says_so(hidden, attempt, targets):
    """What listens since the target runs, under its user id, is its own in all likelihood."""
    target = targets(hidden.pid)
    assert "hidden" in attempt(DiscoverProbe(), target).reason
    hidden.tell()
    port = hidden.port()
    sample = attempt(DiscoverProbe(), target)
    assert [probe.text for probe in sample.found] == [f"tcp:127.0.0.1:{port}"]
    assert "guessed" in sample.note


def test_a_socket_of_another_user_is_not_a_hidden_targets(hidden, attempt, targets):
    """Where the user id does not fit either, somebody else holds the port."""
    if os.geteuid() != 0:
        pytest.skip("only root can change its user")
    hidden.tell()
    hidden.port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.fchown(server.fileno(), 65534, -1)
        sample = attempt(port_probe(server.getsockname()[1]), targets(hidden.pid))
    assert (sample.outcome, sample.reason) == (Outcome.FAILED, "held by another user (uid 65534)")
