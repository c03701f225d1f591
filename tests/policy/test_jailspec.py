"""What the words of --jail mean together, and which lines are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifywrap.errors import SpecError
from notifywrap.policy.jailspec import DEFAULT, JailPath, parse_jail

WORDS = [
    *("default", "yes", "no", "strict", "exec", "nofork", "nounix", "nomemfd", "nosignal"),
    *("nowrite", "nobind", "noconnect", "exec=/a", "read=/a", "read=-/b", "write=/c:/d"),
    *("bind=80", "bind=0", "connect=443", "read=", "bind=x", "nonsense"),
]


def parse(*texts: str):
    return parse_jail(texts, "--jail")


def test_the_option_alone_is_what_hardly_any_daemon_needs():
    """No paths, no ports: it must not need to know the daemon."""
    assert parse("yes") == parse("default") == parse("exec,nofork,nounix,nomemfd")
    jail = parse("yes")
    assert jail is not None
    assert (jail.rules, jail.paths, jail.ports, jail.is_strict) == (DEFAULT, (), (), False)


def test_what_is_listed_holds_and_nothing_else():
    """A line of a unit is read, not looked up: exec must not bring nofork along."""
    jail = parse("exec,connect=443", "read=/etc/app")
    assert jail is not None
    assert jail.rules == {"exec", "connect", "read"}
    assert jail.paths == (JailPath("read", "/etc/app"),)
    assert jail.ports == (("connect", 443),)


def test_strict_alone_is_a_strict_default():
    """It says how, not what."""
    jail = parse("strict")
    assert jail is not None
    assert jail.is_strict
    assert jail.rules == DEFAULT
    listed = parse("strict,nofork")
    assert listed is not None
    assert listed.rules == {"nofork"}


def test_no_turns_off_what_a_file_or_preset_has_turned_on():
    """As for the switches."""
    assert parse("no") is None
    assert parse() is None


def test_none_at_all_is_a_rule_without_exceptions():
    """`nobind` reads better than `bind=`."""
    jail = parse("nowrite,nobind,noconnect")
    assert jail is not None
    assert jail.rules == {"write", "bind", "connect"}
    assert (jail.paths, jail.ports) == ((), ())


def test_paths_come_as_systemd_writes_several_and_may_be_missing():
    """${STATE_DIRECTORY} is /var/lib/a:/var/lib/b with StateDirectory=a b."""
    jail = parse("write=/var/lib/a:/var/lib/b,read=-/etc/x:y")
    assert jail is not None
    assert jail.paths == (
        JailPath("write", "/var/lib/a"),
        JailPath("write", "/var/lib/b"),
        JailPath("read", "/etc/x:y", may_be_missing=True),
    )


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("frobnicate", "known: default, exec"),
        ("read=/a,b", "comma"),
        ("", "known:"),
        ("exec,", "known:"),
        ("no,exec", "cannot be combined"),
        ("read", "write read=/srv/data"),
        ("write", "or nowrite"),
        ("bind", "write bind=443, or nobind"),
        ("read=", "StateDirectory="),
        ("write=relative", "absolute"),
        ("exec=./x", "absolute"),
        ("read=%S/app", "in the unit file alone"),
        ("write=$STATE_DIRECTORY", "in the unit file alone"),
        ("read=/a\0b", "absolute"),
        ("bind=http", "1 to 65535"),
        ("bind=70000", "1 to 65535"),
        ("connect=-1", "1 to 65535"),
        ("connect=\u0663", "1 to 65535"),
        ("nobind,bind=80", "nobind and bind=80 exclude"),
        ("connect=80,noconnect", "noconnect and connect=80 exclude"),
        ("nowrite,write=/tmp", "nowrite and write=/tmp exclude"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused_with_the_fix(text: str, fix: str):
    """A jail that is not understood must not be a jail with a hole."""
    with pytest.raises(SpecError, match=r"^NOTIFYWRAP_JAIL: ") as caught:
        parse_jail([text], "NOTIFYWRAP_JAIL")
    assert fix in str(caught.value)


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=6), min_size=1, max_size=5))
def test_more_words_never_take_less_away(words: list[str]):
    """Whatever is understood in a line holds as it does alone; and order says nothing."""
    try:
        jail = parse(",".join(words))
    except SpecError:
        return
    assert parse(*reversed(words)) is not None or words == ["no"]
    for word in words:
        alone = parse(word)
        if jail is not None and alone is not None and word != "strict":
            assert alone.rules <= jail.rules
            assert set(alone.paths) <= set(jail.paths)
            assert set(alone.ports) <= set(jail.ports)
