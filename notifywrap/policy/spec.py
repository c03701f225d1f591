"""What the user asked for, as values: checked when made, read by everyone, changed by no one."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AliveProbe",
    "DiscoverProbe",
    "ExecProbe",
    "FileProbe",
    "HttpProbe",
    "Kind",
    "ListenProbe",
    "Pace",
    "Probe",
    "Spec",
    "TcpProbe",
    "UnixProbe",
    "explain",
    "kind_of",
]


class Pace(NamedTuple):
    """How often a ready probe is tried: a share of the time waited so far, within bounds.

    share     the interval as a share of the time waited; what an attempt costs is so bounded by it
    least_s   shortest interval in seconds
    most_s    longest interval in seconds
    """

    share: float
    least_s: float
    most_s: float

    def interval_s(self, waited_s: float) -> float:
        """Seconds from one attempt to the next after waiting *waited_s*."""
        return min(max(self.share * waited_s, self.least_s), self.most_s)


LOOKUP_PACE = Pace(0.02, 0.001, 0.010)
HTTP_PACE = Pace(0.02, 0.005, 0.025)
EXEC_PACE = Pace(0.10, 0.050, 1.000)

# Every probe value starts with `text`, the user's own words: what STATUS and the journal call it.


class ListenProbe(NamedTuple):
    """Passes when the target's process tree owns a LISTEN socket at this address. Makes no
    connection.

    host  numeric address; "" for any
    port  TCP port; 0 when *path* is meant
    path  AF_UNIX path, "@name" for the abstract namespace; "" when host and port are meant
    """

    text: str
    host: str = ""
    port: int = 0
    path: str = ""


class TcpProbe(NamedTuple):
    """Passes when a connection to any of *addresses* is made and the target accepts it.

    addresses  numeric (host, port) pairs, tried in order; names are resolved in cli/config.py,
               before the loop
    """

    text: str
    addresses: tuple[tuple[str, int], ...]


class UnixProbe(NamedTuple):
    """Passes when a stream connection to *path* is made and the target accepts it; "@name" is
    abstract."""

    text: str
    path: str


class HttpProbe(NamedTuple):
    """Passes when a GET of *target* is answered with a status in *statuses* (inclusive ranges).

    host       value of the Host: header
    target     path and query of the request line
    addresses  as for TcpProbe; empty when *path* names an AF_UNIX socket
    """

    text: str
    host: str
    target: str
    addresses: tuple[tuple[str, int], ...] = ()
    path: str = ""
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)


class ExecProbe(NamedTuple):
    """Passes when the command ends with status 0. *argv* is executed as it stands, without a
    shell."""

    text: str
    argv: tuple[str, ...]


class FileProbe(NamedTuple):
    """Passes when *path* exists. A file outlives the health of its maker, so it is live only if
    asked for."""

    text: str
    path: str


class AliveProbe(NamedTuple):
    """Passes when the target runs and is neither stopped nor a zombie. Part of every live round."""

    text: str = "alive"


class DiscoverProbe(NamedTuple):
    """Finds the sockets that the target's process tree listens on: what zero-config goes by."""

    text: str = "listening sockets"


Probe = (
    ListenProbe
    | TcpProbe
    | UnixProbe
    | HttpProbe
    | ExecProbe
    | FileProbe
    | AliveProbe
    | DiscoverProbe
)


class Kind(NamedTuple):
    """What all probes of one kind have in common.

    pace         how often it is tried while starting
    repeatable   may it be a live probe without being asked for as one?
    proves_work  false where it also passes for a target that hangs
    """

    pace: Pace
    repeatable: bool
    proves_work: bool


_KINDS = {
    ListenProbe: Kind(LOOKUP_PACE, repeatable=True, proves_work=False),
    TcpProbe: Kind(LOOKUP_PACE, repeatable=True, proves_work=True),
    UnixProbe: Kind(LOOKUP_PACE, repeatable=True, proves_work=True),
    HttpProbe: Kind(HTTP_PACE, repeatable=True, proves_work=True),
    ExecProbe: Kind(EXEC_PACE, repeatable=True, proves_work=True),
    FileProbe: Kind(LOOKUP_PACE, repeatable=False, proves_work=False),
    AliveProbe: Kind(LOOKUP_PACE, repeatable=True, proves_work=False),
    DiscoverProbe: Kind(LOOKUP_PACE, repeatable=False, proves_work=False),
}


def kind_of(probe: Probe) -> Kind:
    """What holds for every probe of this kind."""
    return _KINDS[type(probe)]


def explain(probe: Probe, reason: str) -> str:
    """What failed and why, for STATUS: "tcp:8080: connection refused"."""
    if type(probe) is AliveProbe:
        return f"the target is {reason}"
    where, _, rest = reason.partition(" ")
    if rest and where in probe.text:  # the probe's own address: said once is enough
        reason = rest
    return f"{probe.text}: {reason}" if reason else probe.text


class Spec(NamedTuple):
    """Everything that one run of the wrapper was asked for.

    command      argv of the target
    ready        all of these must pass, once, before READY=1
    live         all of these, and that the target is alive, must pass for each WATCHDOG=1
    watchdog_s   how long systemd waits between pings (WatchdogSec=); None when it expects none
    period_s     from the start of one live round to the start of the next
    timeout_s    how long one attempt of a live round may take
    ready_timeout_s      how long one attempt of a ready probe may take
    kill_after_s from TERM to KILL, where notifywrap itself stops the target
    stop_signal  the signal that means "stop" (systemd's KillSignal=)
    reload_signal        the signal that means "reload"
    reload_timeout_s     then READY=1 is sent although the ready probes do not pass
    sigpipe_ignored      what the target finds for SIGPIPE
    signal_names         number to name, for STATUS and the journal
    """

    command: tuple[str, ...]
    ready: tuple[Probe, ...]
    live: tuple[Probe, ...]
    watchdog_s: float | None = None
    period_s: float = 10.0
    timeout_s: float = 5.0
    ready_timeout_s: float = 5.0
    kill_after_s: float = 10.0
    stop_signal: int = 15
    reload_signal: int = 1
    reload_timeout_s: float = 60.0
    sigpipe_ignored: bool = True
    signal_names: Mapping[int, str] = {}

    def name_of(self, signum: int) -> str:
        """ "TERM" for 15."""
        return self.signal_names.get(signum, str(signum))
