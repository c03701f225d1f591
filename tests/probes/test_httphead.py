"""The HTTP head parser.

Pure, so any cut of the bytes must give the same, and no bytes may hurt it.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifywrap.probes.httphead import HttpError, ResponseReader


def read(*pieces: bytes) -> tuple[int, bool] | str:
    """(status, is_done) after these pieces, or what was wrong."""
    reader = ResponseReader()
    try:
        for piece in pieces:
            reader.feed(piece)
    except HttpError as error:
        return str(error)
    return reader.status, reader.is_done


HEAD = b"HTTP/1.1 200 OK\r\n"

ANSWERS = {
    HEAD + b"Content-Length: 5\r\n\r\nhello": (200, True),
    HEAD + b"Content-Length: 0\r\n\r\n": (200, True),
    HEAD + b"Content-Length: 6\r\n\r\nhello": (200, False),
    HEAD + b"\r\nhello": (200, False),
    HEAD + b"Content-Length: x\r\n\r\nhello": (200, False),
    HEAD + b"content-length:5\n\nhello": (200, True),
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n": (200, True),
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n": (200, True),
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n": (200, False),
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n": (200, False),
    b"HTTP/1.0 204 No Content\n\n": (204, True),
    b"HTTP/1.1 304\r\n\r\n": (304, True),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n": (503, True),
    b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" * 8 + b"HTTP/1.1 200\r\n\r\n": (200, False),
    b"HTTP/1.1 103 Hints\r\n\r\n" * 9: "more than 8 responses of the 1xx kind",
    b"SSH-2.0-OpenSSH_9.2\r\n": "not HTTP: 'SSH-2.0-OpenSSH_9.2'",
    b"\x15\x03\x01\x00\x02\x02P": "the server speaks TLS (write https://)",
    b"\x16\x03\x01\x00\x02\x02P": "not HTTP: '......P'",
    b"<html>": "not HTTP: '<html>'",
    b"HTTP/2 200\r\n\r\n": "not HTTP: 'HTTP/2 200'",
    b"HTTP/1.1 2x0 OK\r\n\r\n": "not HTTP: 'HTTP/1.1 2x0 OK'",
    b"HTTP/1.1 20 OK\r\n\r\n": "not HTTP: 'HTTP/1.1 20 OK'",
    b"HTTP/1.1\r\n\r\n": "not HTTP: 'HTTP/1.1'",
    HEAD + b"X: " + b"x" * 20000: "the head is longer than 16384 bytes",
    HEAD: (0, False),
}


@pytest.mark.parametrize("data", ANSWERS, ids=lambda data: repr(data)[:60])
def test_an_answer_is_understood(data):
    """One row for each way that a body can end, and each lie that a server can tell."""
    assert read(data) == ANSWERS[data]


@given(st.sampled_from([a for a in ANSWERS if not isinstance(ANSWERS[a], str)]), st.data())
def test_any_cut_of_the_bytes_gives_the_same(data, draw):
    """TCP keeps no boundaries: a parser that needs them fails once in a thousand rounds."""
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]
    assert read(*pieces) == ANSWERS[data]


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20), st.booleans())
@example([b"HTTP/1.1 200\r\n\r\n"], True)
def test_garbage_never_raises_anything_else(pieces, ends):
    """What a server sends must not be able to end the wrapper."""
    result = read(*pieces, *([b""] if ends else []))
    if isinstance(result, str):
        assert result.isprintable()


@given(
    st.binary(max_size=300).map(lambda tail: HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + tail)
)
def test_garbage_in_a_body_never_changes_the_status(data):
    """The head decides."""
    assert read(data) in ((200, True), (200, False))


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((), "closed without an answer"),
        ((b"HTTP/1.1 2",), "in the middle of the head, after 10 bytes"),
    ],
)
def test_an_early_end_says_how_far_it_got(pieces, words):
    """Crashed before, or while, it answered: the reason should tell."""
    assert words in str(read(*pieces, b""))


def test_the_end_of_the_stream_ends_a_body_of_unknown_length():
    """HTTP/1.0 servers do it so."""
    assert read(HEAD + b"\r\nhello", b"") == (200, True)
