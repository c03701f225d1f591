"""`grpc://`: a real gRPC health server (grpcio), and servers that only pretend."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifywrap.errors import SpecError
from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import GrpcProbe
from notifywrap.policy.probespec import parse_probe
from notifywrap.probes import open_attempt
from notifywrap.probes.grpc import check_h2, decode_status, encode_request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

pytest.importorskip("h2", reason="the extra notifywrap[grpc] is not here")
pytest.importorskip("grpc_health.v1", reason="script/setup brings grpcio-health-checking")

SERVER = Path(__file__).resolve().parents[1] / "targets" / "health_rpc.py"


class Server:
    """The real one, in a process of its own."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.line())

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip()

    def set(self, service: str, status: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{service or '-'} {status}\n")
        self.process.stdin.flush()
        assert self.line() == "set"

    def end(self) -> str:
        """What it has complained of."""
        self.process.kill()
        return self.process.communicate()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:  # a child that is left would be in other tests' tree
            self.end()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.end()


def probe(port: int, service: str = "") -> GrpcProbe:
    return GrpcProbe("grpc", f"127.0.0.1:{port}", (("127.0.0.1", port),), service)


def test_what_serves_passes(server, attempt):
    """The server as a whole, and a service of its by name."""
    assert attempt(probe(server.port)).outcome is Outcome.PASSED
    assert attempt(probe(server.port, "a.b.Service")).outcome is Outcome.PASSED


def test_what_does_not_serve_fails_in_the_words_of_the_protocol(server, attempt):
    """NOT_SERVING while it drains, NOT_FOUND for a name that is spelled wrong."""
    sample = attempt(probe(server.port, "sick"))
    assert (sample.outcome, sample.reason.split()[1:]) == (Outcome.FAILED, ["NOT_SERVING"])
    sample = attempt(probe(server.port, "a.b.Servcie"))
    assert sample.outcome is Outcome.FAILED
    assert sample.reason.endswith("the server knows no service 'a.b.Servcie'")


def test_a_status_that_flips_is_followed(server, attempt):
    """It is asked anew each time."""
    for status, outcome in (
        ("NOT_SERVING", Outcome.FAILED),
        ("UNKNOWN", Outcome.FAILED),
        ("SERVICE_UNKNOWN", Outcome.FAILED),
        ("SERVING", Outcome.PASSED),
    ):
        server.set("", status)
        sample = attempt(probe(server.port))
        assert sample.outcome is outcome
        assert status in sample.reason or outcome is Outcome.PASSED


def test_a_server_without_the_health_service_is_told_from_one_that_is_sick(attempt):
    """The fix is in its code: it has to register the service."""
    with Server("--plain") as server:
        sample = attempt(probe(server.port))
    assert sample.outcome is Outcome.FAILED
    assert sample.reason.endswith("the server has no health service (grpc.health.v1)")


def test_a_stopped_server_times_out_and_none_of_it_is_in_its_log(attempt):
    """The plainest hang; and twenty probes before it that the server has nothing to say about."""
    with Server() as server:
        for _ in range(20):
            assert attempt(probe(server.port)).outcome is Outcome.PASSED
        os.kill(server.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, server.process.pid, os.WSTOPPED)  # every thread of it
        sample = attempt(probe(server.port), timeout_s=0.3)
        os.kill(server.process.pid, signal.SIGCONT)
        assert (sample.outcome, sample.reason.split(" ", 1)[1]) == (Outcome.TIMED_OUT, "no answer")
        assert server.end() == ""


def test_few_wakeups_are_enough(server, targets, drive):
    """Preface, settings and call go out at once: there is one answer to wait for."""
    asked, target = probe(server.port), targets()
    counts: list[int] = sorted(drive(open_attempt(asked, target)).wakeups for _ in range(50))
    assert counts[40] <= 4


SETTINGS = b"\0\0\0\4\0\0\0\0\0"


def frame(kind: int, flags: int, stream: int, data: bytes) -> bytes:
    head = len(data).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + data


def headers(*pairs: tuple[str, str], end: bool = False) -> bytes:
    """A HEADERS frame of stream 1, without compression."""
    block = b"".join(
        b"\0" + bytes((len(k),)) + k.encode() + bytes((len(v),)) + v.encode("latin-1")
        for k, v in pairs
    )
    return frame(1, 5 if end else 4, 1, block)


OK = headers((":status", "200"), ("content-type", "application/grpc"))
DONE = headers(("grpc-status", "0"), end=True)
SERVING = frame(0, 0, 1, b"\0\0\0\0\2\x08\1")

ANSWERS = {
    "an answer": (SETTINGS + OK + SERVING + DONE, ""),
    "garbage": (b"SSH-2.0-OpenSSH\r\n" * 9, "not HTTP/2: 'SSH-2.0-OpenSSH'"),
    "HTTP/1": (b"HTTP/1.1 400 Bad\r\n\r\n", "the server speaks HTTP/1, not gRPC"),
    "TLS": (b"\x15\3\1\0\2\2\x50", "the server speaks TLS, which grpc:// does not"),
    "nothing": (b"", "closed without an answer"),
    "half": (SETTINGS + OK, "closed too early"),
    "a web page": (SETTINGS + headers((":status", "404"), end=True), "HTTP '404', not gRPC"),
    "no status": (SETTINGS + OK + frame(0, 1, 1, SERVING[9:]), "HTTP '200', not gRPC"),
    "no message": (SETTINGS + OK + DONE, "not one of grpc.health.v1"),
    "two messages": (SETTINGS + OK + SERVING * 2 + DONE, "not one of grpc.health.v1"),
    "another message": (
        SETTINGS + OK + frame(0, 0, 1, b"\0\0\0\0\3abc") + DONE,
        "not one of grpc.health.v1",
    ),
    "a status to come": (SETTINGS + OK + frame(0, 0, 1, b"\0\0\0\0\2\x08\7") + DONE, "status 7"),
    "an empty message": (SETTINGS + OK + frame(0, 0, 1, bytes(5)) + DONE, "UNKNOWN"),
    "a status that is none": (
        SETTINGS + headers((":status", "200"), ("grpc-status", "x" * 99), end=True),
        "gRPC status 'xxx",
    ),
    "a refusal": (
        SETTINGS
        + headers((":status", "200"), ("grpc-status", "14"), ("grpc-message", "\xff"), end=True),
        "gRPC status UNAVAILABLE: ",
    ),
    "a reset": (SETTINGS + frame(3, 0, 1, b"\0\0\0\7"), "gave up the call (RST_STREAM"),
    "GOAWAY": (SETTINGS + frame(7, 0, 0, b"\0\0\0\0\0\0\0\2"), "closes the connection (GOAWAY"),
    "endless headers": (
        SETTINGS + frame(1, 0, 1, b"\0\1a\1b") + frame(9, 0, 1, b"\0\1a\1b" * 99) * 200,
        "not HTTP/2: ",
    ),
    "a header bomb": (
        SETTINGS + headers((":status", "200"), ("a", "b" * 120)) + headers(*[("a", "b")] * 9000),
        "not HTTP/2: ",
    ),
    "a huge message": (SETTINGS + OK + frame(0, 0, 1, b"x" * 9000), "of more than 4096 bytes"),
    "a huge frame": (SETTINGS + frame(0, 0, 1, b"x" * 20000), "not HTTP/2: "),
    "endless settings": (SETTINGS * 9999, "more than 65536 bytes"),
    "headers that are not UTF-8": (
        SETTINGS + headers((":status", "200"), ("\xff", "\xfe"), end=True),
        "not ",
    ),
}


@pytest.fixture
def pretend() -> Iterator[socket.socket]:
    """A listener for the tests to answer at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def answer(listener: socket.socket, data: bytes) -> threading.Thread:
    """Answer the next connection with *data*, and end it."""

    def serve() -> None:
        client, _ = listener.accept()
        with client, contextlib.suppress(OSError):
            client.recv(65536)
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("name", ANSWERS)
def test_a_server_that_lies_fails_with_a_reason(pretend, attempt, name):
    """Bounded, FAILED, and never an exception."""
    data, words = ANSWERS[name]
    thread = answer(pretend, data)
    sample = attempt(probe(pretend.getsockname()[1]))
    thread.join()
    assert sample.outcome is (Outcome.FAILED if words else Outcome.PASSED)
    assert words in sample.reason
    assert len(sample.reason) < 150
    assert sample.reason.isprintable()


def test_a_stream_that_never_ends_times_out(spawn, attempt):
    """Health/Watch would do that; so does a server that forgot to answer."""
    server = spawn(
        "c = say_port(listen()).accept()[0]; c.recv(9999); c.send(eval(sys.argv[1])); input()",
        repr(SETTINGS + OK + SERVING),
    )
    sample = attempt(probe(server.port()), timeout_s=0.3)
    assert sample.outcome is Outcome.TIMED_OUT
    assert "no complete answer after" in sample.reason


def test_no_bytes_can_raise(pretend, targets, drive):
    """An exception would end the wrapper, and with it the service."""
    good = SETTINGS + OK + SERVING + DONE
    port, target = pretend.getsockname()[1], targets()
    for at in range(len(good)):
        for data in (good[:at], good[:at] + bytes((good[at] ^ 0xFF,)) + good[at + 1 :]):
            thread = answer(pretend, data)
            sample = drive(open_attempt(probe(port), target), 1.0).sample
            thread.join()
            assert sample.outcome in (Outcome.PASSED, Outcome.FAILED, Outcome.TIMED_OUT)


@given(st.binary(max_size=40))
def test_any_message_is_a_status_or_none(data):
    """The message is the server's: it may be anything."""
    message = b"\0" + len(data).to_bytes(4, "big") + data
    status = decode_status(message)
    assert status is None or status >= 0
    assert decode_status(data) is None or data[:1] == b"\0"


def test_the_encoding_is_that_of_the_real_messages():
    """Encoded here by hand, so that no protobuf has to be loaded."""
    from grpc_health.v1 import health_pb2

    for service in ("", "a.b.C", "x" * 300, "é"):
        real = health_pb2.HealthCheckRequest(service=service).SerializeToString()
        assert encode_request(service)[5:] == real
        assert int.from_bytes(encode_request(service)[1:5], "big") == len(real)
    for status in range(4):
        real = health_pb2.HealthCheckResponse(status=status).SerializeToString()
        assert decode_status(b"\0" + len(real).to_bytes(4, "big") + real) == status


@pytest.mark.parametrize(
    ("text", "host", "service"),
    [
        ("grpc://h:1", "h:1", ""),
        ("grpc://h:1/", "h:1", ""),
        ("grpc://[::1]:1/a.b.C", "[::1]:1", "a.b.C"),
        ("grpc://h:1/a%20b", "h:1", "a b"),
    ],
)
def test_the_path_is_the_service(text, host, service):
    """As grpc_health_probe's -service."""
    made = parse_probe(text, "--probe", lambda host, port, _: ((host, port),))
    assert (made.host, made.service, made.addresses[0][1]) == (host, service, 1)


@pytest.mark.parametrize(
    "text", ["grpc://", "grpc://h", "grpc://50051", "grpc:h:1", "grpc://h:1/a?b"]
)
def test_what_is_no_grpc_address_is_refused(text):
    """There is no usual port for it."""
    with pytest.raises(SpecError, match=r"^--probe: .*grpc://"):
        parse_probe(text, "--probe", lambda host, port, _: ((host, port),))


def test_without_h2_the_start_says_what_to_install(monkeypatch):
    """Not an ImportError at the first probe."""
    check_h2(probe(1))
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.delitem(sys.modules, "h2", raising=False)
    with pytest.raises(SpecError, match=r"needs the package h2 \(pip install 'notifywrap\[grpc\]'"):
        check_h2(probe(1))
