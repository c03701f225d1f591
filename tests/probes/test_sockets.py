"""Both ways to the kernel's socket tables say the same; a sandbox may bar one of them."""

from __future__ import annotations

import os
import socket

import pytest

from notifywrap.probes.procnet import ProcNet
from notifywrap.probes.sockdiag import SockDiag
from notifywrap.probes.sockets import ESTABLISHED, LISTEN, open_sockets


@pytest.fixture
def ways():
    netlink, proc = SockDiag(), ProcNet()
    yield netlink, proc
    netlink.close()


def inode(of: socket.socket) -> int:
    return os.fstat(of.fileno()).st_ino


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"])
def test_both_find_the_same_tcp_listener(ways, host):
    """An IPv4-mapped address is an IPv4 one to everybody."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, dualstack_ipv6=":" in host) as server:
        found = [way.tcp_listeners(server.getsockname()[1]) for way in ways]
    assert [len(listeners) for listeners in found] == [1, 1]
    for (listener,) in found:
        assert listener.host == host.removeprefix("::ffff:")
        assert listener.uid == os.getuid()
    assert found[0][0].inode == found[1][0].inode


def test_both_list_the_same_listeners(ways):
    """Discovery must not depend on the sandbox."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(40)]
    netlink, proc = ({(x.host, x.port, x.inode) for x in way.tcp_listeners()} for way in ways)
    assert {("127.0.0.1", s.getsockname()[1], inode(s)) for s in servers} <= netlink
    assert netlink == proc
    for server in servers:
        server.close()


def test_mptcp_listeners_are_found(ways):
    """Go listens with MPTCP where the kernel has it (since Go 1.24): Traefik, Caddy, MinIO."""
    try:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    except OSError:
        pytest.skip("no MPTCP here")
    with server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert [x.inode for way in ways for x in way.tcp_listeners(port)] == [inode(server)] * 2
        with socket.create_connection(("127.0.0.1", port)) as client:
            ends = client.getsockname()[:2], client.getpeername()[:2]
            assert [way.tcp_end(*ends) for way in ways] == [(ESTABLISHED, 0, 0, -1)] * 2
            accepted, _ = server.accept()
            assert [way.tcp_end(*ends) for way in ways] == [
                (ESTABLISHED, inode(accepted), 0, -1)
            ] * 2
            accepted.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("bound", [None, "::"])
def test_both_see_the_servers_end_of_a_connection(ways, host, bound):
    """Inode 0 until accept(), the accepted socket's inode then; whichever family serves."""
    bound = bound or host
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    client_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dual = bound in ("::", "::ffff:127.0.0.1")
    with (
        socket.create_server((bound, 0), family=family, dualstack_ipv6=dual) as server,
        socket.socket(client_family) as client,
    ):
        client.connect((host, server.getsockname()[1]))
        ends = client.getsockname()[:2], client.getpeername()[:2]
        assert [way.tcp_end(*ends) for way in ways] == [(ESTABLISHED, 0, 0, -1)] * 2
        with server.accept()[0] as accepted:
            wanted = [(ESTABLISHED, inode(accepted), 0, -1)] * 2
            assert [way.tcp_end(*ends) for way in ways] == wanted
        assert all(
            end and end.state not in (ESTABLISHED, LISTEN)
            for end in (w.tcp_end(*ends) for w in ways)
        )


def test_a_connection_that_is_not_there_is_none_or_the_listener(ways):
    """What a remote host or a DNAT rule looks like from here."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        end = ways[0].tcp_end(("127.0.0.1", 1), ("127.0.0.1", port))
        assert end is not None
        assert (end.state, end.inode) == (LISTEN, inode(server))
    assert [way.tcp_end(("127.0.0.1", 1), ("127.0.0.1", port)) for way in ways] == [None, None]


def test_the_queue_of_a_listener_is_seen(ways):
    """A full queue is a hang, an empty one with SYN_RECV is TCP_DEFER_ACCEPT."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        port = server.getsockname()[1]
        assert not any(way.tcp_listeners(port)[0].is_full for way in ways)
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        assert all(way.tcp_listeners(port)[0].is_full for way in ways)
        for client in clients:
            client.close()


def test_both_see_unix_listeners_and_accepts(ways, tmp_path):
    """unix_diag asks for our own connection; /proc shows only that somebody waits at the path."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        assert [
            [x.path for x in way.unix_listeners() if x.inode == inode(server)] for way in ways
        ] == [[path]] * 2
        client.connect(path)
        assert [way.unix_accepted(inode(client), path) for way in ways] == [False, False]
        with server.accept()[0]:
            assert [way.unix_accepted(inode(client), path) for way in ways] == [True, True]


def test_messages_from_others_are_ignored(ways):
    """Any root process may send to our netlink port.

    A forged answer must not count as the kernel's.
    """
    netlink = ways[0]
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as forger:
        try:
            for _ in range(3):
                forger.sendto(bytes(range(256)), (netlink._port_id, 0))
        except PermissionError:
            pytest.skip("only root may send to another netlink port")
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert [x.inode for x in netlink.tcp_listeners(server.getsockname()[1])] == [inode(server)]


def test_reading_proc_is_rationed(ways):
    """A read costs milliseconds: at most 5 % of a core may go into it."""
    import time

    proc = ways[1]
    assert proc.wait_s() == 0
    began = time.thread_time()
    proc.tcp_listeners()
    cost_s = time.thread_time() - began
    assert cost_s * 10 < proc.wait_s() < cost_s * 25


# Lets nobody open an AF_NETLINK socket, as RestrictAddressFamilies= does it.
NO_NETLINK = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
code = [
    (0x20, 0, 0, 0), (0x15, 0, 3, 41),   # socket(2) ...
    (0x20, 0, 0, 16), (0x15, 0, 1, 16),  # ... of AF_NETLINK:
    (0x06, 0, 0, 0x50061),               # EAFNOSUPPORT
    (0x06, 0, 0, 0x7fff0000),
]
program = b"".join(struct.pack("HBBI", *line) for line in code)
buffer = ctypes.create_string_buffer(program)
head = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(buffer))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(head)):
    say("no seccomp"); sys.exit()
"""


def test_a_sandbox_without_netlink_changes_no_answer(spawn):
    """Hardened units allow AF_INET and AF_UNIX only: /proc/self/net is what is left."""
    if os.uname().machine != "x86_64":
        pytest.skip("the filter knows x86_64's system call numbers")
    server = spawn("accept_for_ever(say_port(listen()))")
    probe = spawn(
        NO_NETLINK
        + """
from notifywrap.policy.probe import *
from notifywrap.probes.once import run_once
from notifywrap.probes.target import Target
from notifywrap.probes.sockets import open_sockets
hung = listen()
try:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4); say("netlink still works")
except OSError as error:
    say(error.errno)
say(type(open_sockets()).__name__)
for port in int(sys.argv[1]), hung.getsockname()[1]:
    sample = run_once(TcpProbe("x", (("127.0.0.1", port),)), None, 0.8)
    say(sample.outcome.name + sample.note)
    sample = run_once(ListenProbe("x", "", port), Target(os.getpid()), 0.8)
    say(sample.outcome.name + sample.note)
""",
        str(server.port()),
    )
    if (first := probe.line()) == "no seccomp":
        pytest.skip("seccomp is not available")
    assert first == "97"  # EAFNOSUPPORT
    lines = [probe.line() for _ in range(5)]
    assert lines == ["ProcNet", "PASSED", "FAILED", "TIMED_OUT", "PASSED"]


def test_netlink_is_preferred():
    """It is 200 times cheaper."""
    sockets = open_sockets()
    assert isinstance(sockets, SockDiag)
    sockets.close()


def test_weather_is_not_mistaken_for_a_sandbox(attempt, targets):
    """Too many open files for a moment must not switch netlink off for ever."""
    import resource

    target = targets()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            target.sockets()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert isinstance(target.sockets(), SockDiag)


def test_a_kernel_that_cannot_list_unix_sockets_so_has_another_way(monkeypatch):
    """unix_diag is a module of its own, and may be missing where tcp_diag is there: zero-config
    would not find a TCP server for it."""
    netlink = SockDiag()
    ask = netlink._ask

    def without_unix(body: bytes, flags: int):
        if body[0] == socket.AF_UNIX:
            raise FileNotFoundError(2, "No such file or directory")
        return ask(body, flags)

    monkeypatch.setattr(netlink, "_ask", without_unix)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("")  # autobind: an abstract name
        server.listen()
        name = "@" + server.getsockname()[1:].decode()
        inode = os.fstat(server.fileno()).st_ino
        assert inode in {each.inode for each in netlink.unix_listeners() if each.path == name}
        client.connect(server.getsockname())
        mine = os.fstat(client.fileno()).st_ino
        assert not netlink.unix_accepted(mine, name)
        server.accept()[0].close()
        assert netlink.unix_accepted(mine, name)
    assert netlink.tcp_listeners() is not None
    netlink.close()
