"""From a command line to a Spec: every value understood, every name resolved."""

from __future__ import annotations

import signal

import pytest

from notifywrap.cli.config import make_spec, parse_signal, resolve
from notifywrap.cli.options import OPTIONS, parse_arguments
from notifywrap.errors import SpecError
from notifywrap.policy.spec import DiscoverProbe, FileProbe, Spec, TcpProbe


def spec(*words: str, watchdog_s: float | None = None) -> Spec:
    return make_spec(parse_arguments([*words, "--", "daemon", "-x"], OPTIONS), watchdog_s)


LOOPBACK_80 = TcpProbe("tcp:80", (("127.0.0.1", 80), ("::1", 80)))


def test_without_options_it_discovers():
    """`notifywrap -- traefik` is the main use."""
    plain = spec()
    assert plain.command == ("daemon", "-x")
    assert [type(probe) for probe in plain.ready] == [DiscoverProbe]
    assert plain.live == ()
    assert (plain.watchdog_s, plain.stop_signal, plain.reload_signal) == (None, 15, 1)
    assert plain.sigpipe_ignored
    assert plain.kill_after_s == 10


def test_a_probe_is_ready_and_live():
    """One option for what is needed most."""
    both = spec("--probe", "tcp:80")
    assert both.ready == both.live == (LOOPBACK_80,)


def test_ready_probes_that_can_be_repeated_are_live_where_none_is_named():
    """A file is not: it outlives the health of its maker."""
    assert spec("--ready", "tcp:80", "--ready", "file:/x").live == (LOOPBACK_80,)
    assert spec("--ready", "file:/x").live == ()
    assert spec("--ready", "listen:80").live == (LOOPBACK_80,)


def test_a_live_probe_that_is_named_is_the_only_one():
    """Whoever names one knows why: a listen probe asked for as live stays one."""
    named = spec("--ready", "tcp:80", "--live", "file:/x")
    assert named.live == (FileProbe("file:/x", "/x"),)
    assert spec("--live", "file:/x").ready == (DiscoverProbe(),)
    assert [type(probe).__name__ for probe in spec("--live", "listen:80").live] == ["ListenProbe"]


@pytest.mark.parametrize(
    ("watchdog_s", "period_s", "timeout_s"),
    [(None, 10, 5), (0.8, 0.2, 0.2), (4, 1, 1), (30, 7.5, 5), (3600, 10, 5)],
)
def test_times_follow_from_the_watchdog(
    watchdog_s: float | None, period_s: float, timeout_s: float
):
    """W/4 each: three rounds may fail before systemd acts."""
    chosen = spec(watchdog_s=watchdog_s)
    assert (chosen.period_s, chosen.timeout_s) == (period_s, timeout_s)


def test_times_are_what_was_asked_for():
    """In systemd's own writing."""
    asked = spec("--period", "1min", "--timeout=250ms", "--kill-after", "2", watchdog_s=100)
    assert (asked.period_s, asked.timeout_s, asked.kill_after_s) == (60, 0.25, 2)
    assert asked.ready_timeout_s == 0.25


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("SIGTERM", 15), ("sigquit", 3), ("15", 15), ("RTMIN", 34), ("RTMIN+3", 37),
     ("SIGRTMIN+3", 37), ("RTMAX", 64), ("64", 64), ("IO", 29)],
)  # fmt: skip
def test_a_signal_is_named_as_in_a_unit_file(text: str, number: int):
    """KillSignal=SIGRTMIN+3 is what containers use."""
    assert parse_signal(text, "--stop-signal") == number


@pytest.mark.parametrize(
    "text",
    ["", "SIG", "KILL", "9", "STOP", "SEGV", "0", "32", "33", "65", "-1", "TERM ", "RTMIN+31"],
)
def test_a_signal_that_cannot_be_caught_is_refused(text: str):
    """It would never come to us: a stop that is not noticed."""
    with pytest.raises(SpecError, match=r"^--stop-signal: "):
        parse_signal(text, "--stop-signal")


def test_the_stop_signal_and_sigpipe_are_taken_over():
    """As the unit's KillSignal= and IgnoreSIGPIPE= say."""
    asked = spec("--stop-signal", "QUIT", "--sigpipe", "default")
    assert asked.stop_signal == signal.SIGQUIT
    assert not asked.sigpipe_ignored
    assert asked.name_of(3) == "QUIT"
    assert asked.name_of(36) == "RTMIN+2"
    assert asked.name_of(99) == "99"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.255.255.1"])
def test_a_numeric_address_is_itself(host: str):
    """No name service is asked, so none can hang."""
    assert resolve(host, 80, "--probe") == ((host, 80),)


@pytest.mark.parametrize(
    "host", ["no-such-name.invalid", "ä" * 70, "a..b", "ä..b", ".", "-", "1.2.3.4.5", "%", "x y"]
)
def test_a_host_that_is_none_is_refused(host: str):
    """Whatever the resolver or IDNA thinks of it."""
    with pytest.raises(SpecError, match=r"^--probe: "):
        resolve(host, 80, "--probe")


@pytest.mark.parametrize("option", ["--period", "--timeout"])
def test_a_round_that_would_be_a_busy_loop_is_refused(option: str):
    """One wrong unit of time must not cost a core on a thousand machines."""
    with pytest.raises(SpecError, match=f"{option}: .* too short"):
        spec(option, "1us", watchdog_s=10)
