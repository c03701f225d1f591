"""The kinds of probes, as values: checked when made, read by everyone, changed by no one."""

from __future__ import annotations

from notifywrap.lean import NamedTuple

__all__ = [
    "EXEC_PACE",
    "HTTPS_PACE",
    "HTTP_PACE",
    "LOOKUP_PACE",
    "AliveProbe",
    "DiscoverProbe",
    "ExecProbe",
    "FdProbe",
    "FdsProbe",
    "FileProbe",
    "GrpcProbe",
    "Hint",
    "HttpProbe",
    "Kind",
    "ListenProbe",
    "LogProbe",
    "NotifyProbe",
    "Pace",
    "Probe",
    "RssProbe",
    "TakenProbe",
    "TcpProbe",
    "Tls",
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


# 8 ms: 1.5 to 1.6 % of a core. With 10 ms READY=1 by tcp: came a median 8 ms after the socket.
LOOKUP_PACE = Pace(0.02, 0.001, 0.008)
HTTP_PACE = Pace(0.02, 0.005, 0.025)
# A TLS handshake costs ten times what the request does, and HTTP/2 in Python not much less.
HTTPS_PACE = Pace(0.04, 0.010, 0.100)
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


class Tls(NamedTuple):
    """How an https probe speaks TLS.

    name      what the certificate must be for, and the server name that is asked for (SNI); ""
              where an address was given: then no name is sent, and it must be for *address*
    address   the numeric host of the URL, "" when that was a name
    verify    false: any certificate will do
    ca        PEM file of the authorities to trust; "" for the system's
    cert, key PEM files to present to the server; "" for none
    """

    name: str = ""
    address: str = ""
    verify: bool = True
    ca: str = ""
    cert: str = ""
    key: str = ""


class HttpProbe(NamedTuple):
    """Passes when a GET of *target* is answered with a status in *statuses* (inclusive ranges) and
    a body in which *body* is found.

    host       value of the Host: header
    target     path and query of the request line
    addresses  as for TcpProbe; empty when *path* names an AF_UNIX socket
    headers    more header fields, sent as they stand; they may be secret: never show them
    body       regular expression, searched in the first 64 KiB; "" for any body
    tls        None for plain http
    """

    text: str
    host: str
    target: str
    addresses: tuple[tuple[str, int], ...] = ()
    path: str = ""
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    tls: Tls | None = None


class GrpcProbe(NamedTuple):
    """Passes when grpc.health.v1.Health/Check says SERVING for *service*; "" is the server as a
    whole.

    host       value of :authority
    addresses  as for TcpProbe
    """

    text: str
    host: str
    addresses: tuple[tuple[str, int], ...]
    service: str = ""


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


class LogProbe(NamedTuple):
    """Passes when a line of the target's stdout or stderr matches the regular expression *pattern*
    (searched, not anchored). What was logged before the attempt counts."""

    text: str
    pattern: str


class FdProbe(NamedTuple):
    """Passes when the target writes a newline to its file descriptor *fd* (the s6 way)."""

    text: str
    fd: int


class NotifyProbe(NamedTuple):
    """The target's own word: READY=1 as a ready probe, WATCHDOG=1 as a live one. Never opened as an
    attempt: the relay's messages are its samples."""

    text: str = "notify"


class RssProbe(NamedTuple):
    """Passes while the target's process tree has at most *limit* bytes resident."""

    text: str
    limit: int


class FdsProbe(NamedTuple):
    """Passes while no process of the target's tree has more than *percent* of its RLIMIT_NOFILE
    open."""

    text: str
    percent: float


class TakenProbe(NamedTuple):
    """Passes when signal *signum* is no longer pending at the target: it has taken it."""

    text: str
    signum: int


class AliveProbe(NamedTuple):
    """Passes when the target runs and is neither stopped nor a zombie. Part of every live round."""

    text: str = "alive"


class Hint(NamedTuple):
    """What a preset knows of a socket that discovery may find: better questions than whether it
    accepts.

    port         TCP port, 0 when *path* is meant
    path         AF_UNIX path, or "@name"
    ready, live  what to try instead of the accept check
    """

    port: int
    path: str
    ready: Probe
    live: Probe


class DiscoverProbe(NamedTuple):
    """Finds the sockets that the target's process tree listens on: what zero-config goes by."""

    text: str = "listening sockets"
    hints: tuple[Hint, ...] = ()


Probe = (
    ListenProbe
    | TcpProbe
    | UnixProbe
    | HttpProbe
    | GrpcProbe
    | ExecProbe
    | FileProbe
    | LogProbe
    | FdProbe
    | NotifyProbe
    | RssProbe
    | FdsProbe
    | AliveProbe
    | TakenProbe
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
    GrpcProbe: Kind(HTTPS_PACE, repeatable=True, proves_work=True),
    LogProbe: Kind(LOOKUP_PACE, repeatable=False, proves_work=False),
    FdProbe: Kind(LOOKUP_PACE, repeatable=False, proves_work=False),
    NotifyProbe: Kind(LOOKUP_PACE, repeatable=True, proves_work=True),
    RssProbe: Kind(HTTP_PACE, repeatable=True, proves_work=False),
    FdsProbe: Kind(HTTP_PACE, repeatable=True, proves_work=False),
    AliveProbe: Kind(LOOKUP_PACE, repeatable=True, proves_work=False),
    TakenProbe: Kind(LOOKUP_PACE, repeatable=False, proves_work=False),
    DiscoverProbe: Kind(LOOKUP_PACE, repeatable=False, proves_work=False),
}


_HTTPS = Kind(HTTPS_PACE, repeatable=True, proves_work=True)


def kind_of(probe: Probe) -> Kind:
    """What holds for every probe of this kind."""
    if type(probe) is HttpProbe and probe.tls is not None:
        return _HTTPS
    return _KINDS[type(probe)]


def explain(probe: Probe, reason: str) -> str:
    """What failed and why, for STATUS: "tcp:8080: connection refused"."""
    if type(probe) is AliveProbe:
        return f"the target is {reason}" if reason else "the target to run"
    where, _, rest = reason.partition(" ")
    # The probe's own address: said once is enough. Words of a command or a pattern are none.
    if rest and where in probe.text and where[:1] in ("/", "@", "[", *"0123456789"):
        reason = rest
    return f"{probe.text}: {reason}" if reason else probe.text
