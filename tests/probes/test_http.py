"""`http://`: the status of one GET, and no trace of it in the daemon's log."""

from __future__ import annotations

import socket

import pytest

from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import HttpProbe
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


def test_headers_are_sent_as_they_stand_and_take_the_place_of_ours(serve, attempt):
    """A Host that Traefik routes by, a token, a User-Agent that a log filter knows."""
    server = serve("say(repr(head)); c.send(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')")
    headers = (("X-Token", "a: b"), ("host", "shop.example"), ("User-Agent", "mine"))
    assert attempt(probe(server.port(), headers=headers)).outcome is Outcome.PASSED
    lines = eval(server.line()).decode().split("\r\n")
    assert lines[:4] == ["GET /health HTTP/1.1", "host: shop.example", "X-Token: a: b",
                         "User-Agent: mine"]  # fmt: skip
    assert [line for line in lines if line.lower().startswith("host:")] == ["host: shop.example"]


def test_a_status_outside_of_the_range_fails(serve, attempt):
    """--http-status 200: a redirect to the login page is not the health page."""
    server = serve("c.send(b'HTTP/1.1 302 Found\\r\\nContent-Length: 0\\r\\n\\r\\n')")
    port = server.port()
    assert attempt(probe(port, statuses=((200, 200),))).reason == "HTTP 302"
    assert attempt(probe(port, statuses=((200, 200), (300, 303)))).outcome is Outcome.PASSED


PIECES = (
    "c.sendall(b'HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n')\n"
    "for piece in (b'stat', b'us: ', b'o', b'k\\n'):\n"
    "    c.sendall(b'%x\\r\\n%s\\r\\n' % (len(piece), piece)); time.sleep(0.01)\n"
    "c.sendall(b'0\\r\\n\\r\\n')"
)


@pytest.mark.parametrize(
    ("regex", "passes"), [("status: ok", True), (r"(?m)^status: (ok|fine)$", True), ("OK", False)]
)
def test_a_body_is_searched_when_it_is_complete(serve, attempt, regex, passes):
    """Also one that comes in pieces, without what frames them."""
    sample = attempt(probe(serve(PIECES).port(), body=regex))
    assert sample.outcome is (Outcome.PASSED if passes else Outcome.FAILED)
    assert sample.reason == ("" if passes else "HTTP 200, but no 'OK' in the body ('status: ok')")


def test_a_body_that_does_not_match_shows_little_of_itself(serve, attempt):
    """It may hold secrets, and a regular expression may be long: STATUS is one line."""
    server = serve(
        "c.send(b'HTTP/1.1 200 OK\\r\\nContent-Length: 60\\r\\n\\r\\n'"
        " + b'no' * 12 + b'secret' * 6)"
    )
    sample = attempt(probe(server.port(), body="x" * 99))
    assert sample.outcome is Outcome.FAILED
    assert "secret" not in sample.reason
    assert len(sample.reason) < 120


def test_a_status_that_fails_does_not_wait_for_the_body(serve, attempt):
    """The head decides alone when it is bad."""
    server = serve("c.send(b'HTTP/1.1 500 X\\r\\nContent-Length: 9\\r\\n\\r\\n'); input()")
    assert attempt(probe(server.port(), body="x")).reason == "HTTP 500"


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        ("c.send(head + b'data: up\\n'); input()", Outcome.PASSED, ""),
        ("c.send(head + b'data: down\\n'); input()", Outcome.TIMED_OUT, "no complete body after"),
        ("c.sendall(head + b'up' + bytes(70000)); input()", Outcome.PASSED, ""),
        ("c.sendall(head + bytes(90000) + b'up')", Outcome.FAILED, "HTTP 200, but no 'up'"),
        ("c.send(head); c.shutdown(socket.SHUT_WR)", Outcome.FAILED, "in the body (empty)"),
    ],
)
def test_a_body_is_waited_for_up_to_the_timeout_and_64_kib(serve, attempt, answer, outcome, reason):
    """A stream of events never ends: what is there by then is what is searched."""
    server = serve("head = b'HTTP/1.1 200 OK\\r\\n\\r\\n'\n" + answer)
    sample = attempt(probe(server.port(), body="up"), timeout_s=0.5)
    assert sample.outcome is outcome
    assert reason in sample.reason


def test_http_over_a_unix_socket_has_the_options_too(spawn, attempt, tmp_path):
    """docker's API wants a Host, and says what is wrong in the body."""
    path = str(tmp_path / "s")
    server = spawn(
        ANSWER
        + """
s = listen_unix(sys.argv[1]); say("up")
serve(s, lambda c, head: (c.send(b"HTTP/1.0 200 OK\\r\\n\\r\\nhost " + head.split()[4]),
                          c.shutdown(socket.SHUT_WR)))
""",
        path,
    )
    assert server.line() == "up"
    asked = probe(0, "/", addresses=(), path=path, headers=(("Host", "d"),), body="^host d$")
    assert attempt(asked).outcome is Outcome.PASSED
