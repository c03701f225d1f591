"""Time spans mean what they mean in a unit file."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifywrap.errors import SpecError
from notifywrap.policy.duration import format_duration, parse_duration

UNITS = [
    "", "us", "usec", "µs", "μs", "ms", "msec", "s", "sec", "second", "seconds", "m", "min",
    "minute", "minutes", "h", "hr", "hour", "hours", "d", "day", "days", "w", "week", "weeks", "M",
    "month", "months", "y", "year", "years",
]  # fmt: skip
ANALYZE = shutil.which("systemd-analyze")

numbers = st.one_of(
    st.integers(0, 99_999).map(str),
    st.decimals(0, 999, places=3, allow_nan=False).map(str),
    st.sampled_from([".5", "0.25", "00", "007"]),
)
spaces = st.sampled_from(["", " ", "\t "])
term = st.tuples(numbers, spaces, st.sampled_from(UNITS), st.sampled_from([" ", "  "])).map("".join)
spans = st.lists(term, min_size=1, max_size=4).map("".join)


def systemd_says(text: str) -> float | None:
    """What systemd-analyze(1) makes of it in seconds; None for what it refuses."""
    assert ANALYZE
    done = subprocess.run(
        [ANALYZE, "timespan", "--", text], capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.strip().startswith("μs:")]
    return int(lines[0].split()[1]) / 1e6 if lines and done.returncode == 0 else None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2),
        ("500ms", 0.5),
        ("1min 30s", 90),
        ("1h30min", 5400),
        ("2 h", 7200),
        (" 5s ", 5),
        (".5", 0.5),
        ("1.5min", 90),
        ("5 5", 10),
        ("3 5min", 303),
        ("250us", 0.00025),
        ("1M", 2629800),
        ("1m", 60),
    ],
)
def test_spans_of_the_manual_page(text: str, seconds: float):
    """systemd.time(7) is where a sysadmin looks."""
    assert parse_duration(text, "--period") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "5x", "-1", "+1", "1e3", "1.", "1..5", "1.5.2", "infinity", "1,5", "1_0", "٣",
     "5s;", "0x10", "nan", "inf", "\0", "1min30", "1 mon", "0", "0s", "0.0ms", "9" * 30, "9" * 500],
)  # fmt: skip
def test_what_is_not_a_time_to_wait_is_refused_with_the_options_name(text: str):
    """A period of 'infinity' or 0 would be a watchdog that never looks, or does nothing else."""
    if text == "1min30":
        assert parse_duration(text, "--period") == 90
        return
    with pytest.raises(SpecError, match=r"^--period: ") as caught:
        parse_duration(text, "--period")
    assert "\n" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_positive_number_of_seconds_or_a_clear_no(text: str):
    """Whatever comes from a command line or a file: never another exception."""
    refusal = ""
    try:
        assert 0 < parse_duration(text, "--period") < float("inf")
    except SpecError as error:
        refusal = str(error)
    assert refusal.startswith("--period: ") or not refusal


@pytest.mark.slow
@pytest.mark.skipif(not ANALYZE, reason="there is no systemd-analyze here")
@settings(max_examples=100, deadline=None)
@given(st.one_of(spans, st.text("0123456789.smhdwyM uµ-", max_size=8)))
def test_systemd_reads_the_same_span(text: str):
    """The same text in WatchdogSec= and in --period must be the same time."""
    expected = systemd_says(text)
    try:
        seconds = parse_duration(text, "--period")
    except SpecError:
        assert not expected
    else:
        assert expected is not None
        # It counts whole microseconds, term by term.
        assert seconds == pytest.approx(expected, abs=1e-5, rel=1e-9)


@given(st.floats(0, 1e9))
def test_a_length_is_written_so_that_it_can_be_typed_in_again(seconds: float):
    """STATUS says "2.5 s"; whoever copies that into an option means it."""
    text = format_duration(seconds)
    assert text.isprintable()
    if text == "0 s":
        assert seconds < 0.001
    else:
        unit = 0.0005 if seconds < 1 else 0.05 if seconds < 10 else 0.5
        assert parse_duration(text, "x") == pytest.approx(seconds, abs=unit * 1.001)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.143, "0.143 s"), (2.5, "2.5 s"), (12.4, "12 s"), (200, "3 min 20 s"), (60, "1 min"),
     (0.0001, "0 s"), (59.7, "60 s"), (2.0, "2 s")],
)  # fmt: skip
def test_a_length_is_short(seconds: float, text: str):
    """One line of STATUS holds several of them."""
    assert format_duration(seconds) == text
