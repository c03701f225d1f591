"""Sending: it never blocks, finds its way again, and says in words when it cannot."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from notifywrap.errors import NotifyError
from notifywrap.protocol.notify import Notifier, parse_address

if TYPE_CHECKING:
    from pathlib import Path


def bind(address: str) -> socket.socket:
    """A manager's end."""
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inbox.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    inbox.settimeout(5)
    inbox.bind("\0" + address[1:] if address[0] == "@" else address)
    return inbox


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Every promise holds for both kinds."""
    return str(tmp_path / "notify") if request.param == "path" else f"@test-{uuid4().hex}"


def test_a_datagram_arrives_as_it_is(address: str) -> None:
    """One message is one datagram."""
    with bind(address) as inbox, Notifier(address) as notifier:
        notifier.check()
        assert notifier.send(b"READY=1\nSTATUS=up")
        assert notifier.send(b"WATCHDOG=1")
        assert inbox.recv(4096) == b"READY=1\nSTATUS=up"
        assert inbox.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    "state",
    ["READY=1", "READY=1\nSTATUS=all is well ✓", "RELOADING=1\nMONOTONIC_USEC=12", "X=\\"],
)
def test_our_bytes_are_those_of_libsystemd(
    address: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd-python calls sd_notify(3): the same state must be the same datagram, from us too."""
    daemon = pytest.importorskip("systemd.daemon")
    with bind(address) as inbox, Notifier(address) as notifier:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        daemon.notify(state)
        theirs = inbox.recvmsg(4096, 1024)
        notifier.send(state.encode())
        ours = inbox.recvmsg(4096, 1024)
        assert ours == theirs  # data and credentials; the sender's address is none in both


def test_a_full_socket_means_try_again(address: str) -> None:
    """A busy PID 1 must never block the watchdog's own process."""
    with bind(address) as inbox, Notifier(address) as notifier:
        sent = 0
        while notifier.send(b"WATCHDOG=1"):
            sent += 1
            assert sent < 100_000
        assert sent > 0
        notifier.check()  # full is not absent
        inbox.recv(4096)
        assert notifier.send(b"READY=1")


def test_file_descriptors_go_along(address: str) -> None:
    """FDSTORE=1 and BARRIER=1 mean nothing without them; whoever gave them still has his own."""
    reader, writer = os.pipe()
    with bind(address) as inbox, Notifier(address) as notifier:
        assert notifier.send(b"FDSTORE=1", (reader, writer))
        inbox.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)  # recv_fds has no room for them
        data, (got, other), _, _ = socket.recv_fds(inbox, 4096, 9)
        assert data == b"FDSTORE=1"
        os.write(writer, b"the same pipe")
        assert os.read(got, 100) == b"the same pipe"
        while notifier.send(b"BARRIER=1", (writer,)):
            pass  # until it is full: then nothing of it is sent
    for fd in (reader, writer, got, other):
        os.close(fd)


def test_file_descriptors_do_not_leave_the_machine() -> None:
    """A barrier that nobody could answer would keep its sender waiting."""
    with Notifier("vsock:2:1") as notifier, pytest.raises(NotifyError, match="cannot be sent"):
        notifier.send(b"BARRIER=1", (0,))


def test_a_manager_that_binds_anew_is_found_again(address: str) -> None:
    """`systemctl daemon-reexec` and a restarted user manager: no ping may be lost for good."""
    with Notifier(address) as notifier:
        with bind(address) as inbox:
            assert notifier.send(b"WATCHDOG=1")
            assert inbox.recv(4096) == b"WATCHDOG=1"
        assert not notifier.send(b"WATCHDOG=1")  # ECONNREFUSED
        if address[0] == "/":
            os.unlink(address)
            assert not notifier.send(b"WATCHDOG=1")  # ENOENT
        with bind(address) as inbox:
            assert notifier.send(b"READY=1")
            assert inbox.recv(4096) == b"READY=1"


def test_check_sends_nothing(address: str) -> None:
    """An empty datagram would be a warning in the journal."""
    with bind(address) as inbox, Notifier(address) as notifier:
        notifier.check()
        inbox.setblocking(False)
        with pytest.raises(BlockingIOError):
            inbox.recv(1)


def test_an_address_that_leads_nowhere_is_told_at_start(tmp_path: Path) -> None:
    """Before the target is started, with the variable and the fix."""
    told = r"NOTIFY_SOCKET='.*nothing'.*no such file.*unset"
    with Notifier(str(tmp_path / "nothing")) as notifier, pytest.raises(NotifyError, match=told):
        notifier.check()
    told = "nobody listens"
    with Notifier(f"@{uuid4().hex}") as notifier, pytest.raises(NotifyError, match=told):
        notifier.check()
    (tmp_path / "file").write_text("")
    with Notifier(str(tmp_path / "file")) as notifier, pytest.raises(NotifyError):
        notifier.check()


def test_a_stream_socket_is_no_manager(tmp_path: Path) -> None:
    """Somebody else's socket: sending there can never work."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(tmp_path / "stream"))
        other.listen()
        with Notifier(str(tmp_path / "stream")) as notifier:
            with pytest.raises(NotifyError, match="not a datagram socket"):
                notifier.check()
            with pytest.raises(NotifyError, match="not a datagram socket"):
                notifier.send(b"READY=1")


@pytest.mark.parametrize(
    "text",
    ["", "relative", "/", "@", "/" + "x" * 107, "@" + "x" * 107, "vsock:", "vsock:2", "vsock:x:1",
     "vsock:2:-1", "vsock:4294967295:1", "vsock:2:4294967295", "vsock::1", "tcp:1:2", "unix:/x"],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    """One line that names the variable and the fix."""
    with pytest.raises(NotifyError, match=r"NOTIFY_SOCKET=.*unset"):
        parse_address(text)


def test_the_longest_addresses_work(tmp_path: Path) -> None:
    """A path of 107 bytes and an abstract name of 106 are what fits in a sockaddr_un."""
    assert parse_address("/" + "x" * 106).peer == "/" + "x" * 106
    address = "@" + uuid4().hex.ljust(106, "x")
    with bind(address) as inbox, Notifier(address) as notifier:
        assert notifier.send(b"READY=1")
        assert inbox.recv(100) == b"READY=1"


def test_vsock_addresses_are_understood() -> None:
    """A service inside a VM may report to the host (sd_notify(3))."""
    dgram, seqpacket, stream = socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM
    assert parse_address("vsock:2:1234").peer == (2, 1234)
    assert parse_address("vsock:2:1234").types == (dgram, seqpacket, stream)
    assert parse_address("vsock-stream:2:1234").types == (stream,)
    assert parse_address("vsock-seqpacket:2:1234").types == (seqpacket,)
    assert parse_address("vsock-dgram:2:1234").types == (dgram,)


def test_vsock_stream_carries_one_message_per_connection() -> None:
    """The end of the connection is the end of the message."""
    local = 1  # VMADDR_CID_LOCAL
    try:
        listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        listener.bind((local, socket.VMADDR_PORT_ANY))
    except OSError as error:
        pytest.skip(f"no vsock loopback here: {error}")
    with listener:
        listener.listen()
        port = listener.getsockname()[1]
        script = (
            "import sys\nfrom notifywrap.protocol.notify import Notifier\n"
            f"assert Notifier('vsock-stream:{local}:{port}').send(b'READY=1')\n"
        )
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        sender = subprocess.Popen([sys.executable, "-c", script], env=env)
        connection, _ = listener.accept()
        with connection:
            received = connection.recv(100)
            while more := connection.recv(100):
                received += more
        assert received == b"READY=1"
        assert sender.wait(10) == 0


def test_a_sandbox_without_af_unix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """RestrictAddressFamilies= answers EAFNOSUPPORT, which nobody would understand."""
    from notifywrap.protocol import notify

    class Sandboxed:
        AF_UNIX, SOCK_DGRAM = socket.AF_UNIX, socket.SOCK_DGRAM

        def socket(self, *_: object) -> None:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(notify, "socket", Sandboxed())
    with pytest.raises(NotifyError, match="RestrictAddressFamilies= lacks AF_UNIX"):
        Notifier("/run/systemd/notify")


def test_the_socket_does_not_reach_the_target() -> None:
    """A target that inherits it could speak for us."""
    with Notifier("@any") as notifier:
        assert not os.get_inheritable(notifier._socket.fileno())
