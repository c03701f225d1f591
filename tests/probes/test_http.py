"""`http://`: the status of one GET, and no trace of it in the daemon's log."""

from __future__ import annotations

import socket

import pytest

from notifywrap.policy.events import Outcome
from notifywrap.policy.spec import HttpProbe
from notifywrap.probes import open_attempt

ANSWER = """
def read_head(c):
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        data += c.recv(65536)
    return data
def serve(s, answer):
    while True:
        c = s.accept()[0]
        head = read_head(c)
        try:
            answer(c, head)
            rest = c.recv(1)
            say("clean" if rest == b"" else rest)
        except OSError as error:
            say(error)
        c.close()
"""


@pytest.fixture
def serve(spawn):
    """A server that does *answer* (statements on `c` and `head`) for each request."""

    def start(answer: str):
        body = "\n".join("    " + line for line in answer.splitlines())
        return spawn(f"{ANSWER}\ndef answer(c, head):\n{body}\nserve(say_port(listen()), answer)")

    return start


def probe(port: int, target: str = "/health", **changes) -> HttpProbe:
    made = HttpProbe(
        f"http://127.0.0.1:{port}", f"127.0.0.1:{port}", target, (("127.0.0.1", port),)
    )
    return made._replace(**changes)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.PASSED),
        (301, Outcome.PASSED),
        (399, Outcome.PASSED),
        (404, Outcome.FAILED),
        (503, Outcome.FAILED),
    ],
)
def test_the_status_decides(serve, attempt, status, outcome):
    """And a redirect is an answer, not an errand."""
    server = serve(
        f"c.send(b'HTTP/1.1 {status} X\\r\\nLocation: /x\\r\\nContent-Length: 0\\r\\n\\r\\n')"
    )
    sample = attempt(probe(server.port()))
    assert sample.outcome is outcome
    assert sample.reason == ("" if outcome is Outcome.PASSED else f"HTTP {status}")


def test_the_request_is_plain_and_says_who_asks(serve, spawn, attempt):
    """Connection: close, no proxy form, a User-Agent that can be filtered out of access logs."""
    server = serve("say(repr(head)); c.send(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')")
    port = server.port()
    assert attempt(probe(port, "/a?b=c")).outcome is Outcome.PASSED
    lines = eval(server.line()).decode().split("\r\n")
    assert lines[0] == "GET /a?b=c HTTP/1.1"
    assert lines[1] == f"Host: 127.0.0.1:{port}"
    assert lines[2].startswith("User-Agent: notifywrap/")
    assert "Connection: close" in lines


@pytest.mark.parametrize(
    "answer",
    [
        "c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 65000\\r\\n\\r\\n' + bytes(65000))",
        "c.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n' + bytes(65000)); c.shutdown(socket.SHUT_WR)",
        "c.sendall(b'HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n')\n"
        "for _ in range(60): c.sendall(b'400\\r\\n' + bytes(1024) + b'\\r\\n')\n"
        "c.sendall(b'0\\r\\n\\r\\n')",
    ],
)
def test_a_body_up_to_64_kib_ends_without_a_reset(serve, attempt, answer):
    """A reset in the daemon's log at every round is what makes admins turn probes off."""
    server = serve(answer)
    probed = probe(server.port())
    for _ in range(10):
        assert attempt(probed).outcome is Outcome.PASSED
        assert server.line() == "clean"


def test_a_body_without_end_does_not_hold_up_the_verdict(serve, attempt):
    """An event stream answers 200 and never ends."""
    server = serve("c.send(b'HTTP/1.1 200 OK\\r\\n\\r\\ndata: 1')")
    assert attempt(probe(server.port()), timeout_s=5).outcome is Outcome.PASSED


def test_a_huge_body_does_not_hold_up_the_verdict(serve, attempt):
    """What is read is bounded."""
    server = serve("c.send(b'HTTP/1.1 200 OK\\r\\n\\r\\n')\nwhile True: c.send(bytes(65536))")
    assert attempt(probe(server.port()), timeout_s=5).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("input()", "no answer"),
        ("c.send(b'HTTP/1.1 2'); input()", "no complete status line after 10 bytes"),
        ("c.send(b'HTTP/1.1 200 OK\\r\\nA: b'); input()", "no complete head after 21 bytes"),
    ],
)
def test_a_server_that_stalls_times_out_and_the_reason_says_where(serve, attempt, answer, words):
    """Just "timed out" does not tell a hung accept from a hung handler."""
    server = serve(answer)
    sample = attempt(probe(server.port()), timeout_s=0.3)
    assert sample.outcome is Outcome.TIMED_OUT
    assert words in sample.reason


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("c.send(b'SSH-2.0-x\\x1b[2J\\r\\n'); input()", "not HTTP: 'SSH-2.0-x.[2J'"),
        ("c.shutdown(socket.SHUT_WR)", "closed without an answer"),
        ("c.send(b'HTTP/1.1 200'); c.shutdown(socket.SHUT_WR)", "closed in the middle of the head"),
    ],
)
def test_what_is_not_http_fails_at_once(serve, attempt, answer, words):
    """A wrong port is a mistake in the unit: say it, do not wait for the timeout."""
    server = serve(answer)
    sample = attempt(probe(server.port()))
    assert sample.outcome is Outcome.FAILED
    assert words in sample.reason


def test_refused_is_unheard(attempt):
    """Nobody listens yet: it may be tried again in a millisecond."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    sample = attempt(probe(port))
    assert (sample.outcome, sample.unheard) == (Outcome.FAILED, True)


def test_a_stopped_server_times_out(serve, attempt):
    """The plainest hang."""
    server = serve("c.send(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')")
    port = server.port()
    assert attempt(probe(port)).outcome is Outcome.PASSED
    server.freeze()
    assert attempt(probe(port), timeout_s=0.3).outcome is Outcome.TIMED_OUT


def test_http_over_a_unix_socket(spawn, attempt, tmp_path):
    """http+unix:// is how docker, podman and gunicorn are often served."""
    path = str(tmp_path / "s")
    server = spawn(
        ANSWER
        + """
s = listen_unix(sys.argv[1]); say("up")
serve(s, lambda c, head: (c.send(b"HTTP/1.0 200 OK\\r\\n\\r\\n"), c.shutdown(socket.SHUT_WR)))
""",
        path,
    )
    assert server.line() == "up"
    sample = attempt(probe(0, "/", addresses=(), path=path))
    assert sample.outcome is Outcome.PASSED


def test_deferred_accept_is_no_obstacle(spawn, attempt):
    """The request is the data that TCP_DEFER_ACCEPT waits for."""
    server = spawn(
        ANSWER
        + """
serve(say_port(listen(defer=True)), lambda c, head: c.send(
    b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"))
"""
    )
    sample = attempt(probe(server.port()))
    assert (sample.outcome, sample.note) == (Outcome.PASSED, "")


def test_three_wakeups_are_enough(serve, targets, drive):
    """The steady state's budget, on a server that answers in one piece."""
    server = serve("c.send(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok')")
    probed, target = probe(server.port()), targets()
    assert sorted(drive(open_attempt(probed, target)).wakeups for _ in range(50))[40] <= 2
