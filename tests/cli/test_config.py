"""From a command line to a Spec: every value understood, every name resolved."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from notifywrap.cli.config import make_spec, resolve
from notifywrap.cli.options import OPTIONS, parse_arguments
from notifywrap.cli.values import parse_signal
from notifywrap.errors import SpecError
from notifywrap.policy.credential import Credential
from notifywrap.policy.jailspec import DEFAULT, Jail
from notifywrap.policy.probe import DiscoverProbe, FileProbe, TcpProbe
from notifywrap.policy.spec import TargetNotify

if TYPE_CHECKING:
    from notifywrap.policy.spec import Spec


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


# option, value, and what it makes of the Spec.
MEANINGS = [
    ("--period", "3s", {"period_s": 3.0}),
    ("--timeout", "3s", {"timeout_s": 3.0, "ready_timeout_s": 3.0}),
    ("--stable-for", "2min", {"stable_for_s": 120.0}),
    ("--stable-for", "0", {"stable_for_s": 0.0}),
    ("--stable-for", "0s", {"stable_for_s": 0.0}),
    ("--start-timeout", "1h", {"start_timeout_s": 3600.0}),
    ("--kill-after", "3s", {"kill_after_s": 3.0}),
    ("--fail-after", "3", {"fail_after": 3}),
    ("--target-notify", "auto", {}),
    ("--target-notify", "require", {"target_notify": TargetNotify.REQUIRE}),
    ("--target-notify", "ignore", {"target_notify": TargetNotify.IGNORE}),
    ("--reload", "USR2", {"reload_signal": 12}),
    ("--reload", "0", {"reload_signal": 0}),
    ("--reload", "exec:reload 'it all'", {"reload_command": ("reload", "it all")}),
    ("--reload-timeout", "5s", {"reload_timeout_s": 5.0}),
    ("--stop-signal", "INT", {"stop_signal": 2}),
    ("--map-signal", "TERM=QUIT", {"signal_map": {15: 3}}),
    ("--map-signal", "SIGUSR1=0", {"signal_map": {10: 0}}),
    ("--map-signal", "RTMIN+3=TERM", {"signal_map": {37: 15}}),
    ("--sigpipe", "default", {"sigpipe_ignored": False}),
    ("--main", "target", {"main_is_target": True}),
    ("--main", "wrapper", {}),
    ("--pidfile", "/run/x.pid", {"pidfile": "/run/x.pid"}),
    ("--jail", "no", {}),
    ("--jail", "exec", {"jail": Jail(frozenset(["exec"]))}),
    ("--jail", "yes", {"jail": Jail(DEFAULT), "target_notify": TargetNotify.IGNORE}),
    ("--credential", "pass", {"credentials": (Credential("pass", "PASS"),)}),
]


@pytest.mark.parametrize(("option", "value", "means"), MEANINGS)
def test_each_option_means_one_thing(option: str, value: str, means: dict[str, object]):
    """And leaves all the rest as it is."""
    assert spec(f"{option}={value}") == spec()._replace(**means)


def test_no_option_was_forgotten():
    """The others are about probes, or about where settings come from and lines go to."""
    elsewhere = {"--ready", "--live", "--probe", "--preset", "--config", "--log", "--log-level"}
    about_http = {option for option in OPTIONS if option.startswith(("--http-", "--tls-"))}
    assert {option for option, _, _ in MEANINGS} == set(OPTIONS) - elsewhere - about_http


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--fail-after", "0", "1 or more"),
        ("--fail-after", "2.5", "1 or more"),
        ("--fail-after", "-1", "1 or more"),
        ("--start-timeout", "0", "more than 0"),
        ("--reload", "KILL", "no signal that can be caught"),
        ("--reload", "exec:", "names no command"),
        ("--reload", "exec:'unclosed", "quotation"),
        ("--map-signal", "TERM", "TERM=QUIT"),
        ("--map-signal", "TERM=", "no signal"),
        ("--map-signal", "KILL=TERM", "no signal that can be caught"),
        ("--map-signal", "TERM=KILL", "no signal that can be caught"),
        ("--map-signal", "TERM=STOP", "no signal that can be caught"),
        ("--map-signal", "HUP=USR1", "use --reload SIGNAL"),
        ("--map-signal", "CHLD=USR1", "our own children"),
        ("--pidfile", "run/x.pid", "absolute path"),
        ("--target-notify", "maybe", "auto, require or ignore"),
        ("--tls-insecure", "perhaps", "yes nor no"),
    ],
)
def test_a_value_that_means_nothing_names_its_option(option: str, value: str, says: str):
    """Found before anything was started."""
    with pytest.raises(SpecError, match=f"^{option}: ") as caught:
        spec(f"{option}={value}")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--map-signal=TERM=QUIT", "--map-signal=15=INT"], "--map-signal: 15 given twice"),
        (["--target-notify=ignore", "--ready=notify"], "--target-notify: 'ignore'"),
        (["--target-notify=ignore", "--live=notify"], "--target-notify: 'ignore'"),
        (["--stable-for=5s", "--start-timeout=5s"], "--stable-for: must be less"),
        (["--main=target", "--reload=USR1"], "--reload: not with --main target: .*ExecReload="),
        (["--main=target", "--reload-timeout=1"], "--reload-timeout: not with --main target"),
        (["--main=target", "--map-signal=TERM=QUIT"], "--map-signal: .*KillSignal="),
        (["--main=target", "--stop-signal=TERM"], "--stop-signal: .*KillSignal="),
        (["--main=target", "--pidfile=/run/x"], "--pidfile: .*PIDFile="),
        (["--main=target", "--start-timeout=9s"], "--start-timeout: .*TimeoutStartSec="),
        (["--main=target", "--kill-after=9s"], "--kill-after: .*TimeoutStopSec="),
        (["--main=target", "--ready=log:x"], "log:x: not with --main target"),
    ],
)
def test_options_that_contradict_each_other_are_refused(words: list[str], says: str):
    """One of the two would silently not hold."""
    with pytest.raises(SpecError, match=f"^{says}"):
        spec(*words)


def test_the_targets_own_word_may_come_past_a_sidecar():
    """systemd hears it from the main process, which it is; so does the sidecar."""
    assert spec("--main=target", "--ready=notify").main_is_target
