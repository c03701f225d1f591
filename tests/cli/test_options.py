"""The command line, taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifywrap.cli.about import TOPICS
from notifywrap.cli.options import OPTIONS, parse_arguments
from notifywrap.errors import SpecError

WORDS = st.lists(
    st.sampled_from([*OPTIONS, "--", "-", "-x", "--probe=", "--period=1s", "word", ""]) | st.text(),
    max_size=6,
)


def test_options_before_the_command_and_nothing_of_it_is_ours():
    """A target has options too, with the same names as ours if it likes."""
    arguments = parse_arguments(
        ["--probe", "tcp:80", "--period=1s", "--probe=tcp:81", "--", "x", "--probe", "--", "y"],
        OPTIONS,
    )
    assert arguments.values == {"--probe": ["tcp:80", "tcp:81"], "--period": ["1s"]}
    assert arguments.command == ("x", "--probe", "--", "y")
    assert arguments.words == ()


def test_a_value_may_hold_an_equals_sign_and_begin_with_a_dash():
    """`exec:` probes have options of their own."""
    arguments = parse_arguments(["--probe=exec:a --b=c", "--live", "-x=y", "--", "z"], OPTIONS)
    assert arguments.values == {"--probe": ["exec:a --b=c"], "--live": ["-x=y"]}


def test_without_a_separator_there_is_no_command():
    """What stands there is not run by guess."""
    arguments = parse_arguments(["traefik"], OPTIONS)
    assert (arguments.command, arguments.words) == (None, ("traefik",))


@given(WORDS)
def test_every_command_line_is_understood_or_refused_by_name(words: list[str]):
    """Nothing is dropped: what goes in comes out, or is in the message."""
    try:
        arguments = parse_arguments(words, OPTIONS)
    except SpecError as error:
        refusal = str(error)
        names = [word.partition("=")[0] for word in words]
        assert any(name and refusal.startswith(name) for name in names)
        return
    given_values = [value for values in arguments.values.values() for value in values]
    assert len(given_values) + len(arguments.words) <= len(words)
    if arguments.command is not None:
        assert words[len(words) - len(arguments.command) :] == list(arguments.command)
    assert set(arguments.values) <= set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_in_the_help(option: str):
    """What is not in --help does not exist for a sysadmin."""
    assert [topic for topic, text in TOPICS.items() if f"  {option} " in text]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("--prob", "--probe"), ("--readdy", "--ready"), ("--kill-aftr", "--kill-after"),
     ("-probe", "--probe"), ("--stop_signal", "--stop-signal"), ("--loglevel", "--log-level")],
)  # fmt: skip
def test_a_slip_of_the_finger_is_answered_with_what_was_meant(typed: str, meant: str):
    """The fix is in the message."""
    with pytest.raises(SpecError, match=f"^{typed}: .*did you mean {meant}") as caught:
        parse_arguments([typed, "x", "--", "y"], OPTIONS)
    assert caught.value.exit_status == 2
