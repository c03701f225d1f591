"""From what was asked for to a `Spec`: every value is understood, and every name resolved, before
anything starts."""

from __future__ import annotations

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING, socket
from notifywrap.policy.defaults import as_live, choose_live, choose_times
from notifywrap.policy.duration import parse_duration
from notifywrap.policy.probespec import parse_probe
from notifywrap.policy.spec import DiscoverProbe, Probe, Spec
from notifywrap.runtime.signals import CAUGHT, NAMES

if TYPE_CHECKING:
    from notifywrap.cli.options import Arguments

__all__ = ["make_spec", "parse_signal", "resolve"]

DEFAULT_TIMEOUT_S = 5.0  # of a ready attempt: nobody restarts anything for it
DEFAULT_KILL_AFTER_S = 10.0


def make_spec(arguments: Arguments, watchdog_s: float | None) -> Spec:
    """The Spec for this command line. Raises SpecError naming the option and the fix."""
    if arguments.words:
        raise SpecError(
            f"{arguments.words[0]!r}: write -- before the command: notifywrap [OPTIONS] -- COMMAND"
        )
    if not arguments.command:
        raise SpecError(
            "no command given: notifywrap [OPTIONS] -- COMMAND [ARG...] (see notifywrap --help)"
        )
    _choose(arguments, "--main", ("wrapper",))
    both = _probes(arguments, "--probe")
    ready = _probes(arguments, "--ready") + both or (DiscoverProbe(),)
    live = _probes(arguments, "--live") + tuple(as_live(probe) for probe in both)
    if "--live" not in arguments.values and "--probe" not in arguments.values:
        live = choose_live(ready)
    timeout_s = _duration(arguments, "--timeout")
    round_s = choose_times(watchdog_s, _duration(arguments, "--period"), timeout_s)
    return Spec(
        command=arguments.command,
        ready=ready,
        live=live,
        watchdog_s=watchdog_s,
        period_s=round_s[0],
        timeout_s=round_s[1],
        ready_timeout_s=timeout_s or DEFAULT_TIMEOUT_S,
        kill_after_s=_duration(arguments, "--kill-after") or DEFAULT_KILL_AFTER_S,
        stop_signal=parse_signal(arguments.last("--stop-signal", "TERM"), "--stop-signal"),
        sigpipe_ignored=_choose(arguments, "--sigpipe", ("ignore", "default")) == "ignore",
        signal_names=NAMES,
    )


def _probes(arguments: Arguments, option: str) -> tuple[Probe, ...]:
    return tuple(parse_probe(text, option, resolve) for text in arguments.values.get(option, ()))


def _duration(arguments: Arguments, option: str) -> float | None:
    values = arguments.values.get(option)
    return parse_duration(values[0], option) if values else None


def _choose(arguments: Arguments, option: str, choices: tuple[str, ...]) -> str:
    value = arguments.last(option, choices[0])
    if value not in choices:
        raise SpecError(f"{option}: {value!r} is not available (choose {' or '.join(choices)})")
    return value


def parse_signal(text: str, option: str) -> int:
    """The number of a signal: "TERM", "SIGTERM", "RTMIN+3" or "15". Raises SpecError naming
    *option*."""
    name = text.upper().removeprefix("SIG")
    for number, known in NAMES.items():
        if name in (known, str(number)) and number in CAUGHT:
            return int(number)
    raise SpecError(
        f"{option}: {text!r} is no signal that can be caught"
        " (write for example TERM, QUIT or RTMIN+3)"
    )


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
