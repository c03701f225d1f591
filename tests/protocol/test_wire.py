"""The datagram: nothing from outside can add to it, and it says what systemd understands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifywrap.errors import NotifyError
from notifywrap.protocol.wire import (
    MAX_DATAGRAM,
    STATUS_LIMIT,
    VALUE_LIMIT,
    build,
    clean,
    parse,
    usec,
)

# Whatever a daemon may answer: surrogates (bytes that were no UTF-8), NUL, all line breaks.
TEXTS = st.text(
    st.one_of(
        st.sampled_from("\n\r\0\\=\x1b\u2028\x85 a"),
        st.characters(),
        st.characters(categories=["Cs"]),
    )
)
KEYS = st.sampled_from(["READY", "STATUS", "WATCHDOG", "MONOTONIC_USEC", "X_NOTE", "ERRNO"])


@given(TEXTS)
def test_no_value_can_add_an_assignment(text: str) -> None:
    """A probe's answer goes into STATUS; it must never become a READY=1."""
    datagram = build([("STATUS", text), ("WATCHDOG", "1")])
    assert [line.split(b"=")[0] for line in datagram.split(b"\n")] == [b"STATUS", b"WATCHDOG"]
    assert [key for key, _ in parse(datagram).assignments] == ["STATUS", "WATCHDOG"]


@given(st.lists(st.tuples(KEYS, TEXTS), max_size=4))
def test_what_is_built_is_read_back_cleaned(assignments: list[tuple[str, str]]) -> None:
    """Both directions agree, backslashes included: a relay may parse and build again."""
    expected = tuple(
        (key, clean(value, STATUS_LIMIT if key == "STATUS" else VALUE_LIMIT))
        for key, value in assignments
    )
    assert parse(build(assignments)).assignments == expected


@given(st.lists(st.tuples(KEYS, TEXTS), max_size=40))
def test_a_datagram_is_never_longer_than_systemd_reads(assignments: list[tuple[str, str]]) -> None:
    """systemd drops a longer one whole, without a word to the sender."""
    try:
        datagram = build(assignments)
    except NotifyError:
        datagram = b""  # refused
    assert len(datagram) <= MAX_DATAGRAM


@given(TEXTS, st.integers(0, 300))
def test_cleaned_text_is_one_short_printable_line(text: str, limit: int) -> None:
    """`systemctl status` shows it, and invalid UTF-8 would even erase the text before."""
    line = clean(text, limit)
    assert len(line) <= limit
    assert line.isprintable()
    assert clean(line, limit) == line
    line.encode()


def test_a_cut_is_shown() -> None:
    """Half a reason must not look like the whole of it."""
    assert clean("x" * 300, 10) == "xxxxxxxxx…"
    assert clean("x" * 10, 10) == "x" * 10
    assert clean("a" + " " * 10_000 + "b", 10) == "a…"


def test_a_backslash_is_doubled() -> None:
    """systemd takes it for an escape, and drops a message whole that ends with one (tried: 252)."""
    assert build([("STATUS", "C:\\"), ("READY", "1")]) == b"STATUS=C:\\\\\nREADY=1"
    with pytest.raises(NotifyError, match="backslash"):
        parse(b"READY=1\nSTATUS=C:\\")
    assert parse(b"STATUS=C:\\\nREADY=1").assignments == (("STATUS", "C:\nREADY=1"),)


@pytest.mark.parametrize("key", ["", "A=B", "A\nB", "ready", "Ä", "1A", "A B", "A\0"])
def test_a_bad_key_is_refused(key: str) -> None:
    """A key is ours, so a bad one is a mistake in the program."""
    with pytest.raises(NotifyError):
        build([(key, "1")])


def test_systemd_limits_are_kept_when_reading() -> None:
    """What systemd drops must not count for the stand-in either."""
    assert parse(b"A=" + b"x" * 4094).get("A") == "x" * 4094
    with pytest.raises(NotifyError, match="4096"):
        parse(b"A=" + b"x" * 4095)
    with pytest.raises(NotifyError, match="NUL"):
        parse(b"READY=1\0STATUS=x")
    assert parse(b"READY=1\0").get("READY") == "1"
    with pytest.raises(NotifyError, match="NUL"):
        parse(b"READY=1\0\0")


def test_the_first_of_a_repeated_key_counts() -> None:
    """As in systemd, except that READY=1 counts wherever it stands."""
    message = parse(b"STATUS=one\nSTATUS=two\nREADY=0\nREADY=1\nX_MINE=yes\nnonsense\n")
    assert message.get("STATUS") == "one"
    assert message.has("READY")
    assert message.get("X_MINE") == "yes"
    assert message.get("nonsense") is None


def test_a_status_that_is_not_utf8_is_no_status() -> None:
    """systemd ignores it and clears the text that was there."""
    message = parse(b"STATUS=\xff\nX_A=\xff\rREADY=1")
    assert message.get("STATUS") == ""
    assert message.get("X_A") == "\ufffd"
    assert message.has("READY")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(datagram: bytes) -> None:
    """A target may send whatever it likes; nothing of it may break the reader."""
    try:
        for key, value in parse(datagram).assignments:
            (key + value).encode()
    except NotifyError:
        pass


def test_usec_is_whole_microseconds() -> None:
    """systemd takes no fraction and no exponent."""
    assert usec(0.25) == "250000"
    assert usec(1e6) == "1000000000000"
