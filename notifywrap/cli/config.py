"""From what was asked for to a `Spec`: every value is understood, and every name resolved, before
anything starts."""

from __future__ import annotations

from notifywrap.cli.options import PROBES, is_about_http
from notifywrap.cli.values import (
    parse_count,
    parse_path,
    parse_reload,
    parse_signal,
    parse_signal_map,
)
from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING, NamedTuple, socket
from notifywrap.policy.defaults import as_live, choose_live, choose_times, make_hints
from notifywrap.policy.duration import parse_duration
from notifywrap.policy.probe import (
    DiscoverProbe,
    FdProbe,
    GrpcProbe,
    HttpProbe,
    LogProbe,
    NotifyProbe,
    Probe,
)
from notifywrap.policy.probespec import parse_probe
from notifywrap.policy.spec import Spec, TargetNotify
from notifywrap.runtime.signals import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from notifywrap.cli.options import Arguments
    from notifywrap.policy.credential import Credential
    from notifywrap.policy.jailspec import Jail
    from notifywrap.policy.probe import Hint

__all__ = ["make_spec", "resolve"]

DEFAULT_TIMEOUT_S = 5.0  # of a ready attempt: nobody restarts anything for it
DEFAULT_KILL_AFTER_S = 10.0
DEFAULT_RELOAD_TIMEOUT_S = 60.0

# A sidecar is no parent of the target: signals do not pass through it, and it cannot stop or reap.
_NOT_BESIDE = {
    "--reload": "systemd signals the target itself (set ExecReload= in the unit)",
    "--reload-timeout": "systemd signals the target itself (set ExecReload= in the unit)",
    "--map-signal": "systemd signals the target itself (set KillSignal= in the unit)",
    "--stop-signal": "systemd signals the target itself (set KillSignal= in the unit)",
    "--pidfile": "the target's own pid is the service's (set PIDFile= in the unit)",
    "--start-timeout": "only systemd can stop the target then (set TimeoutStartSec= in the unit)",
    "--kill-after": "only systemd can stop the target then (set TimeoutStopSec= in the unit)",
}


class _Asked(NamedTuple):
    """One probe, and the http options that are for it alone: option -> values."""

    probe: Probe
    own: Mapping[str, list[str]] = {}
    label: str = ""


def make_spec(arguments: Arguments, watchdog_s: float | None) -> Spec:
    """The Spec for this command line. Raises SpecError naming the option and the fix."""
    if arguments.words:
        meant = f"--jail={arguments.words[0]}, or " if "--jail" in arguments.values else ""
        raise SpecError(
            f"{arguments.words[0]!r}: write {meant}-- before the command:"
            " notifywrap [OPTIONS] -- COMMAND"
        )
    if not arguments.command:
        raise SpecError(
            "no command given: notifywrap [OPTIONS] -- COMMAND [ARG...] (see notifywrap --help)"
        )
    ready, live = _choose_probes(arguments)
    timeout_s = _duration(arguments, "--timeout")
    round_s = choose_times(watchdog_s, _duration(arguments, "--period"), timeout_s)
    jail = _jail(arguments)
    reload_signal, reload_command = parse_reload(*_last(arguments, "--reload", "HUP"))
    spec = Spec(
        command=arguments.command,
        ready=ready,
        live=live,
        watchdog_s=watchdog_s,
        period_s=round_s[0],
        timeout_s=round_s[1],
        ready_timeout_s=timeout_s or DEFAULT_TIMEOUT_S,
        kill_after_s=_duration(arguments, "--kill-after") or DEFAULT_KILL_AFTER_S,
        stop_signal=parse_signal(*_last(arguments, "--stop-signal", "TERM")),
        reload_signal=reload_signal,
        reload_command=reload_command,
        reload_timeout_s=_duration(arguments, "--reload-timeout") or DEFAULT_RELOAD_TIMEOUT_S,
        stable_for_s=_duration(arguments, "--stable-for", may_be_zero=True) or 0.0,
        start_timeout_s=_duration(arguments, "--start-timeout"),
        fail_after=_count(arguments, "--fail-after"),
        target_notify=_target_notify(arguments, jail),
        signal_map=parse_signal_map(
            arguments.values.get("--map-signal", ()), arguments.label("--map-signal")
        ),
        main_is_target=_choose(arguments, "--main", ("wrapper", "target")) == "target",
        pidfile=_path(arguments, "--pidfile"),
        sigpipe_ignored=_choose(arguments, "--sigpipe", ("ignore", "default")) == "ignore",
        jail=jail,
        credentials=_credentials(arguments),
        signal_names=NAMES,
    )
    _refuse_contradictions(spec, arguments)
    if any(type(probe) in (GrpcProbe, HttpProbe) for probe in ready + live):
        from notifywrap.cli.httpsetup import check_probes  # of what others do not need

        check_probes(ready + live)
    return spec


def _choose_probes(arguments: Arguments) -> tuple[tuple[Probe, ...], tuple[Probe, ...]]:
    """(ready, live)"""
    both = _asked(arguments, "--probe")
    ready = _asked(arguments, "--ready") + both
    live = _asked(arguments, "--live") + [each._replace(probe=as_live(each.probe)) for each in both]
    if not ready:
        ready = [_Asked(DiscoverProbe(hints=_hints(arguments)))]
    asked = ready + live
    probes = _adapt([each.probe for each in asked], arguments.values, arguments.labels)
    # What a table of --config says about its own probe counts more than what holds for all.
    probes = tuple(
        _adapt((probe,), each.own, {option: f"{each.label}.{option[2:]}" for option in each.own})[0]
        for probe, each in zip(probes, asked, strict=True)
    )
    chosen, named = probes[: len(ready)], probes[len(ready) :]
    if "--live" in arguments.values or "--probe" in arguments.values:
        return chosen, named
    return chosen, choose_live(chosen)


def _adapt(
    probes: Sequence[Probe], values: Mapping[str, Sequence[str]], labels: Mapping[str, str]
) -> tuple[Probe, ...]:
    """*probes*, asking as the http options among *values* say."""
    if not any(is_about_http(option) for option in values):
        return tuple(probes)
    from notifywrap.cli.httpsetup import with_http_options

    return with_http_options(probes, values, labels)


def _hints(arguments: Arguments) -> tuple[Hint, ...]:
    """What the preset of a well-known daemon has about sockets that it usually listens on."""
    if not arguments.hints:
        return ()
    alone = arguments._replace(values=arguments.hints, own={})
    both = [each.probe for each in _asked(alone, "--probe")]
    ready = [each.probe for each in _asked(alone, "--ready")] + both
    live = [each.probe for each in _asked(alone, "--live")] + both
    hints = make_hints(ready, live)
    if not hints:
        return ()  # nor is there anything that its http options could be about
    (probe,) = _adapt((DiscoverProbe(hints=hints),), alone.values, {})
    assert isinstance(probe, DiscoverProbe), "options change how a probe asks, not what it is"
    return probe.hints


def _refuse_contradictions(spec: Spec, arguments: Arguments) -> None:
    for option in arguments.values:
        if spec.main_is_target and option in _NOT_BESIDE:
            raise SpecError(
                f"{arguments.label(option)}: not with --main target: {_NOT_BESIDE[option]}"
            )
    if spec.jail is not None and spec.pidfile and "nofork" in spec.jail.rules:
        raise SpecError(
            f"{spec.jail.label}: nofork and {arguments.label('--pidfile')} exclude each other"
            " (a target that daemonizes forks; name the rules that it can live with)"
        )
    probes = spec.ready + spec.live
    for probe in probes:
        if spec.main_is_target and type(probe) is LogProbe:
            raise SpecError(f"{probe.text}: not with --main target: its output does not pass us")
        if spec.target_notify is TargetNotify.IGNORE and type(probe) is NotifyProbe:
            label = arguments.label("--target-notify")
            raise SpecError(
                f"{label}: 'ignore' and the probe 'notify' exclude each other"
                " (the target is given no socket to notify)"
            )
    for probe in spec.live:
        if type(probe) in (FdProbe, LogProbe):
            raise SpecError(
                f"--live: {probe.text!r} is said once and cannot be asked for again"
                " (use it with --ready, and name another probe for --live)"
            )
    if spec.start_timeout_s is not None and spec.stable_for_s >= spec.start_timeout_s:
        raise SpecError(f"{arguments.label('--stable-for')}: must be less than --start-timeout")


def _asked(arguments: Arguments, option: str) -> list[_Asked]:
    texts, label = arguments.values.get(option, []), arguments.label(option)
    if option not in arguments.own:
        return [_Asked(parse_probe(text, label, resolve)) for text in texts]
    own = zip(texts, arguments.own[option], strict=True)
    return [
        _Asked(parse_probe(text, f"{label}[{index}]", resolve), settings, f"{label}[{index}]")
        for index, (text, settings) in enumerate(own, 1)
    ]


def _last(arguments: Arguments, option: str, default: str) -> tuple[str, str]:
    return arguments.last(option, default), arguments.label(option)


def _duration(arguments: Arguments, option: str, *, may_be_zero: bool = False) -> float | None:
    value, label = _last(arguments, option, "")
    if option not in arguments.values:
        return None
    return parse_duration(value, label, may_be_zero=may_be_zero)


def _count(arguments: Arguments, option: str) -> int:
    return parse_count(*_last(arguments, option, "")) if option in arguments.values else 0


def _path(arguments: Arguments, option: str) -> str:
    return parse_path(*_last(arguments, option, "")) if option in arguments.values else ""


def _choose(arguments: Arguments, option: str, choices: tuple[str, ...]) -> str:
    value = arguments.last(option, choices[0])
    if value not in choices:
        among = " or ".join((", ".join(choices[:-1]), choices[-1]))
        raise SpecError(f"{arguments.label(option)}: {value!r} is not available (choose {among})")
    return value


def _jail(arguments: Arguments) -> Jail | None:
    if "--jail" not in arguments.values:
        return None
    from notifywrap.policy.jailspec import parse_jail

    return parse_jail(arguments.values["--jail"], arguments.label("--jail"))


def _credentials(arguments: Arguments) -> tuple[Credential, ...]:
    if "--credential" not in arguments.values:
        return ()
    from notifywrap.policy.credential import parse_credentials

    return parse_credentials(arguments.values["--credential"], arguments.label("--credential"))


def _target_notify(arguments: Arguments, jail: Jail | None) -> TargetNotify:
    names = tuple(each.value for each in TargetNotify)
    value = _choose(arguments, "--target-notify", names)
    chosen = next(each for each in TargetNotify if each.value == value)
    if jail is None or "nounix" not in jail.rules:
        return chosen
    asked = [text for option in PROBES for text in arguments.values.get(option, ())]
    if chosen is TargetNotify.REQUIRE or "notify" in asked:
        other = "the probe 'notify'"
        if chosen is TargetNotify.REQUIRE:
            other = f"{arguments.label('--target-notify')} require"
        raise SpecError(
            f"{jail.label}: nounix and {other} exclude each other"
            " (NOTIFY_SOCKET is an AF_UNIX socket; name the rules without nounix, or probe)"
        )
    return TargetNotify.IGNORE  # it could not say anything


def resolve(host: str, port: int, option: str) -> tuple[tuple[str, int], ...]:
    """The numeric addresses of *host*. Raises SpecError naming *option* when there are none."""
    if _is_numeric(host):
        return ((host, port),)
    try:
        # Bytes: for a str Python imports its IDNA codec, and with it `re`: 1.4 MB for nothing.
        name = host.encode("ascii" if host.isascii() else "idna")
        found = socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM)
    except UnicodeError:
        raise SpecError(f"{option}: {host!r} is not a host name") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise SpecError(
            f"{option}: cannot resolve {host!r}: {why} (write a numeric address)"
        ) from None
    families = (socket.AF_INET, socket.AF_INET6)
    return tuple((str(entry[4][0]), port) for entry in found if entry[0] in families)


def _is_numeric(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False
