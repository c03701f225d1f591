"""PROBE texts: understood completely, or refused before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifywrap.errors import SpecError
from notifywrap.policy.defaults import as_live, choose_live, choose_times, find_doubts
from notifywrap.policy.probe import (
    AliveProbe,
    ExecProbe,
    FileProbe,
    HttpProbe,
    ListenProbe,
    Probe,
    TcpProbe,
    UnixProbe,
    kind_of,
)
from notifywrap.policy.probespec import KINDS, parse_port, parse_probe

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = (("127.0.0.1", 80), ("::1", 80))


def resolve(host: str, port: int, option: str) -> tuple[tuple[str, int], ...]:
    """A name service that knows every name but those that end in .invalid."""
    if host.endswith(".invalid"):
        raise SpecError(f"{option}: cannot resolve {host!r}")
    return ((host, port),)


def parse(text: str) -> Probe:
    return parse_probe(text, "--probe", resolve)


def tried(call: Callable[..., Any], *args: object) -> tuple[Any, str]:
    """(what it returns, "") or (None, why it refuses)."""
    try:
        return call(*args), ""
    except SpecError as error:
        return None, str(error)


@pytest.mark.parametrize(
    ("text", "probe"),
    [
        ("alive", AliveProbe()),
        ("listen:80", ListenProbe("listen:80", port=80)),
        ("listen:*:80", ListenProbe("listen:*:80", port=80)),
        ("listen:10.0.0.1:80", ListenProbe("listen:10.0.0.1:80", "10.0.0.1", 80)),
        ("listen:[::1]:80", ListenProbe("listen:[::1]:80", "::1", 80)),
        ("listen:/run/x", ListenProbe("listen:/run/x", path="/run/x")),
        ("listen:@x", ListenProbe("listen:@x", path="@x")),
        ("tcp:80", TcpProbe("tcp:80", LOOPBACK)),
        ("tcp:localhost:80", TcpProbe("tcp:localhost:80", LOOPBACK)),
        ("tcp:10.0.0.1:80", TcpProbe("tcp:10.0.0.1:80", (("10.0.0.1", 80),))),
        ("tcp:[::1]:80", TcpProbe("tcp:[::1]:80", (("::1", 80),))),
        ("unix:/run/x", UnixProbe("unix:/run/x", "/run/x")),
        ("unix:@x", UnixProbe("unix:@x", "@x")),
        ("file:/run/a b", FileProbe("file:/run/a b", "/run/a b")),
        ("exec:a 'b c' d", ExecProbe("exec:a 'b c' d", ("a", "b c", "d"))),
        ("exec:a && b; $c", ExecProbe("exec:a && b; $c", ("a", "&&", "b;", "$c"))),
        ("http://h", HttpProbe("http://h", "h", "/", (("h", 80),))),
        ("http://h:81/a?b=c#d", HttpProbe("http://h:81/a?b=c#d", "h:81", "/a?b=c", (("h", 81),))),
        ("http://h?q", HttpProbe("http://h?q", "h", "/?q", (("h", 80),))),
        ("http://h/a@b", HttpProbe("http://h/a@b", "h", "/a@b", (("h", 80),))),
        ("http://[::1]/", HttpProbe("http://[::1]/", "[::1]", "/", (("::1", 80),))),
        ("http://[::1]:81/", HttpProbe("http://[::1]:81/", "[::1]:81", "/", (("::1", 81),))),
        ("http://localhost/", HttpProbe("http://localhost/", "localhost", "/", LOOPBACK)),
        (
            "http+unix://%2Frun%2Fx.sock/ping",
            HttpProbe("http+unix://%2Frun%2Fx.sock/ping", "localhost", "/ping", path="/run/x.sock"),
        ),
        (
            "http+unix://@x/",
            HttpProbe("http+unix://@x/", "localhost", "/", path="@x"),
        ),
    ],
)
def test_a_probe_is_what_its_text_says(text: str, probe: Probe):
    """The table of the manual, line by line."""
    parsed = parse(text)
    assert (type(parsed), parsed) == (type(probe), probe)


@pytest.mark.parametrize(
    "text",
    ["", "tcp", "tcp:", "tcp:x", "tcp:0", "tcp:65536", "tcp:-1", "tcp:8 0", "tcp:80 ", "tcp:٣",
     "tcp:0x50", "tcp:1_0", "tcp:h:", "tcp:[::1]", "tcp:[::1", "tcp:[]:80", "tcp:::1:80",
     "tcp:x.invalid:80", "listen:localhost:80", "listen:", "unix:x", "unix:", "unix:/" + "x" * 107,
     "listen:/" + "é" * 60, "file:x", "file:", "exec:", "exec: ", "exec:'", "http:", "http:x",
     "http://", "http://:80/", "http:///x", "http://h:/", "http://h:x/", "http://u@h/",
     "http://u:p@h/", "http://h/a b", "http://h/\r\nX: y", "http://h/é", "http://h/\x7f",
     "http+unix://run/", "http+unix://", "http+unix://%2Fa%00b/", "http+unix://%2/",
     "https://", "HTTP://h/", "ftp://h/", "alive:", "Alive", "grpc://h", "grpc://:1", "rss:",
     "rss:x", "rss:0", "unix:@", "listen:@", "fds:0", "fds:101", "fds:x", "fd:2", "fd:x", "log:",
     "log:[", "notify:", "Notify"],
)  # fmt: skip
def test_a_text_that_means_nothing_names_the_option(text: str):
    """One line, at start, with the option in front: never at 03:00."""
    with pytest.raises(SpecError, match=r"^--probe: ") as caught:
        parse(text)
    assert caught.value.exit_status == 2


def test_an_unknown_kind_lists_those_that_are_known():
    """The fix is in the message."""
    with pytest.raises(SpecError) as caught:
        parse("tpc:80")
    assert KINDS in str(caught.value)
    for kind in KINDS.split():
        assert kind.rstrip("/").rstrip(":") in KINDS


schemes = st.sampled_from(
    ["listen:", "tcp:", "unix:", "http://", "http+unix://", "http:", "exec:", "file:", "alive", ""]
)
# What can come from a command line: any text, and bytes that are not UTF-8 as surrogates.
any_text = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
)
tricky = st.text("[]:/@%#?*.0123456789abcDEF'\"\\ \n\0é", max_size=30)


@settings(max_examples=600)
@given(schemes, any_text | tricky)
def test_any_text_is_a_probe_or_a_clear_no(scheme: str, rest: str):
    """Whatever a unit file says: a probe that keeps its text, or a SpecError with the option."""
    text = scheme + rest
    probe, refusal = tried(parse, text)
    if probe is None:
        assert refusal.startswith("--probe: ")
        return
    assert probe.text == text
    assert kind_of(probe)
    if isinstance(probe, HttpProbe):
        request = f"GET {probe.target} HTTP/1.1\r\nHost: {probe.host}\r\n\r\n"
        assert request.isascii()
        assert request.count("\r\n") == 3
        assert request.split("\r\n")[0].count(" ") == 2
    if isinstance(probe, TcpProbe | HttpProbe):
        assert all(1 <= port <= 65535 for _, port in probe.addresses)


@given(any_text)
def test_a_port_is_a_number_from_1_to_65535_or_a_clear_no(text: str):
    """int() takes more than a port can be: signs, spaces, underscores, other digits."""
    port, refusal = tried(parse_port, text, "--probe")
    assert refusal.startswith("--probe: ") if port is None else 1 <= port <= 65535


@given(st.integers(1, 65535))
def test_every_port_is_one(port: int):
    """The other half of the promise."""
    assert parse_port(str(port), "--probe") == port


def test_listen_becomes_a_connection_as_a_live_probe():
    """A socket listens for as long as its process exists, hung or not."""
    assert as_live(parse("listen:80")) == TcpProbe("tcp:80", LOOPBACK)
    assert as_live(parse("listen:[::1]:80")) == TcpProbe("tcp:[::1]:80", (("::1", 80),))
    assert as_live(parse("listen:1.2.3.4:80")) == TcpProbe("tcp:1.2.3.4:80", (("1.2.3.4", 80),))
    assert as_live(parse("listen:/x")) == UnixProbe("unix:/x", "/x")
    assert as_live(parse("tcp:80")) == parse("tcp:80")


def test_a_file_is_no_live_probe_unless_it_is_asked_for():
    """It outlives the health of its maker."""
    assert choose_live((parse("file:/x"),)) == ()
    assert choose_live((parse("file:/x"), parse("tcp:80"))) == (parse("tcp:80"),)


def test_its_own_ready_does_not_make_a_target_one_that_pings():
    """Most never ping, and would be restarted for ever; those that do are heard all the same."""
    assert choose_live((parse("notify"),)) == ()
    assert choose_live((parse("notify"), parse("tcp:80"))) == (parse("tcp:80"),)


def test_what_passes_for_a_hung_target_is_no_matter_beside_what_does_not():
    """A warning without a reason teaches its reader to skip the next one."""
    weak, strong = parse("rss:512M"), parse("tcp:80")
    assert find_doubts((strong,), (weak, strong), 30.0) == []
    assert "rss:512M also passes" in find_doubts((strong,), (weak,), 30.0)[0]


@given(st.floats(0.001, 1e6))
def test_by_default_a_round_and_its_timeout_fit_twice_into_the_watchdog(watchdog_s: float):
    """One failed round must leave time for another one."""
    period_s, timeout_s = choose_times(watchdog_s, None, None)
    assert 0 < period_s <= 10
    assert 0 < timeout_s <= 5
    assert period_s + timeout_s <= watchdog_s / 2 * 1.000001


@given(st.floats(0.001, 100), st.none() | st.floats(0.001, 100), st.none() | st.floats(0.001, 100))
def test_what_is_asked_for_fits_or_is_refused(
    watchdog_s: float, period_s: float | None, timeout_s: float | None
):
    """A round that may end after the watchdog would fire on a healthy target."""
    chosen, refusal = tried(choose_times, watchdog_s, period_s, timeout_s)
    if chosen is None:
        assert refusal.startswith(("--period: ", "--timeout: "))
        assert period_s is not None or timeout_s is not None
    else:
        assert sum(chosen) < watchdog_s
        assert period_s in (None, chosen[0])
        assert timeout_s in (None, chosen[1])
