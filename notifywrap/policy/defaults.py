"""What is done where the user said nothing, and what is said about it."""

from __future__ import annotations

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.duration import format_duration
from notifywrap.policy.probe import (
    AliveProbe,
    DiscoverProbe,
    GrpcProbe,
    Hint,
    HttpProbe,
    ListenProbe,
    NotifyProbe,
    Probe,
    TcpProbe,
    UnixProbe,
    kind_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["as_live", "choose_live", "choose_times", "find_doubts", "make_hints"]

LOOPBACK = ("127.0.0.1", "::1")
PERIOD_MOST_S = 10.0
TIMEOUT_MOST_S = 5.0
LEAST_S = 0.001  # below this rounds are a busy loop, and an attempt is over before it began


def as_live(probe: Probe) -> Probe:
    """The live probe that goes with a ready probe: for `listen:` a connection that the target
    accepts.

    A socket listens for as long as its process exists, even when nobody accepts any more.
    """
    if type(probe) is not ListenProbe:
        return probe
    if probe.path:
        return UnixProbe(f"unix:{probe.path}", probe.path)
    if probe.host:
        text = (
            f"tcp:[{probe.host}]:{probe.port}"
            if ":" in probe.host
            else f"tcp:{probe.host}:{probe.port}"
        )
        return TcpProbe(text, ((probe.host, probe.port),))
    return TcpProbe(f"tcp:{probe.port}", tuple((host, probe.port) for host in LOOPBACK))


def choose_live(ready: tuple[Probe, ...]) -> tuple[Probe, ...]:
    """The live probes where none are named: the ready probes that can be repeated.

    Not the target's own pings: they count once it has begun with them, and many that say READY=1
    never ping.
    """
    return tuple(
        as_live(probe)
        for probe in ready
        if kind_of(probe).repeatable and type(probe) is not NotifyProbe
    )


def make_hints(ready: Sequence[Probe], live: Sequence[Probe]) -> tuple[Hint, ...]:
    """For each socket that these probes ask: what to try there.

    Left out are probes that name no socket, those that need TLS (5 MB are too much for a guess),
    and mere accept checks: discovery does them itself, at the address that it found.
    What is missing follows from the other: the live probe from the ready one as always, and a
    socket that is only watched is ready when the watch passes.
    """
    asked = {_socket_of(probe): probe for probe in reversed(live)}
    watched = {**asked, **{_socket_of(probe): probe for probe in reversed(ready)}}
    return tuple(
        Hint(*place, probe, as_live(asked.get(place, probe)))
        for place, probe in watched.items()
        if place is not None and isinstance(probe, HttpProbe | GrpcProbe)
    )


def _socket_of(probe: Probe) -> tuple[int, str] | None:
    """(port, path) of what it asks."""
    if isinstance(probe, ListenProbe):
        return probe.port, probe.path
    if isinstance(probe, UnixProbe):
        return 0, probe.path
    if isinstance(probe, HttpProbe) and probe.tls is not None:
        return None
    if isinstance(probe, HttpProbe) and probe.path:
        return 0, probe.path
    if isinstance(probe, TcpProbe | HttpProbe | GrpcProbe) and probe.addresses:
        return probe.addresses[0][1], ""
    return None


def choose_times(
    watchdog_s: float | None, period_s: float | None, timeout_s: float | None
) -> tuple[float, float]:
    """(period, timeout) of the live rounds in seconds.

    A quarter of WatchdogSec each: three rounds may fail before systemd acts, and each has all the
    time until the next.
    Raises SpecError when what was asked for would let the watchdog fire on a healthy target.
    """
    for option, length_s in (("--period", period_s), ("--timeout", timeout_s)):
        if length_s is not None and length_s < LEAST_S:
            least = format_duration(LEAST_S)
            raise SpecError(f"{option}: {length_s:g}s is too short ({least} at least)")
    quarter_s = PERIOD_MOST_S if watchdog_s is None else watchdog_s / 4
    period = min(quarter_s, PERIOD_MOST_S) if period_s is None else period_s
    timeout = min(quarter_s, TIMEOUT_MOST_S) if timeout_s is None else timeout_s
    if watchdog_s is not None and period + timeout >= watchdog_s:
        option = "--period" if period_s is not None and period >= timeout else "--timeout"
        raise SpecError(
            f"{option}: a round every {format_duration(period)} that may take"
            f" {format_duration(timeout)} is too slow for WatchdogSec={watchdog_s:g}s:"
            " together they must stay below it"
        )
    return period, timeout


def find_doubts(
    ready: tuple[Probe, ...], live: tuple[Probe, ...], watchdog_s: float | None
) -> list[str]:
    """What a sysadmin should know at start about what these live probes cannot notice."""
    if watchdog_s is None or any(type(probe) is DiscoverProbe for probe in ready):
        return []
    if not live:
        return [
            "no ready probe can be repeated, so pings only say that the target is not stopped;"
            " add --live PROBE to notice one that hangs"
        ]
    if any(kind_of(probe).proves_work for probe in live):
        return []  # the others are one limit more
    return [
        f"--live {probe.text} also passes for a target that hangs;"
        " better ask it something (tcp:, unix:, http:, exec:)"
        for probe in live
        if not kind_of(probe).proves_work and type(probe) is not AliveProbe
    ]
