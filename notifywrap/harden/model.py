"""The words that the parts of `harden` share. Values only."""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "Candidate",
    "Exercised",
    "Observation",
    "Pick",
    "Process",
    "Setting",
    "Socket",
    "Tier",
    "Trial",
    "Usage",
]


class Setting(NamedTuple):
    """One line of a unit file. An empty value resets the list.

    --jail is a key as well: its values become one line in the end.
    """

    key: str
    value: str
    section: str = "Service"


class Socket(NamedTuple):
    """A .socket unit that a tier needs: systemd binds *listen*, and hands it over as *name*.

    is_backend  it is bound in the service's network namespace, and forwarded (see sockets.py)
    """

    name: str
    listen: str
    is_backend: bool = False


class Tier(NamedTuple):
    """One strength of a candidate.

    settings  lines, in order, that are added to the unit
    sockets   .socket units beside it
    why       what it takes from an intruder, where that is not what a stronger one takes
    """

    settings: tuple[Setting, ...]
    sockets: tuple[Socket, ...] = ()
    why: str = ""


class Candidate(NamedTuple):
    """Something to take away from the service.

    name      how it is called in reports: the directive, for most
    why       what it takes from an intruder, in a few words (the comment in the drop-in)
    tiers     strongest first; the first that the service stands is kept
    is_risky  tried alone: it often breaks a service, or breaks it quietly
    group     of harmless ones that are tried together, after the large group without a name
    """

    name: str
    why: str
    tiers: tuple[Tier, ...]
    is_risky: bool = False
    group: str = ""


class Pick(NamedTuple):
    """A candidate's tier, by its name and number (0: the strongest)."""

    name: str
    tier: int = 0


class Trial(NamedTuple):
    """What one round runs under: what has been kept so far, then what is new."""

    kept: tuple[Pick, ...]
    new: tuple[Pick, ...]

    @property
    def picks(self) -> tuple[Pick, ...]:
        return self.kept + self.new


class Exercised(NamedTuple):
    """What one --exercise command came to. duration_s is rounded by nobody."""

    command: str
    status: int
    duration_s: float
    last_line: str


class Process(NamedTuple):
    """What a process of the service was seen to do.

    executed  programs, in order, with their loaders and interpreters
    opened    files and directories, since it executed the last of them
    """

    pid: int
    parent: int
    executed: tuple[str, ...]
    opened: tuple[str, ...]


class Usage(NamedTuple):
    """What the service was seen to use. Sorted.

    opened    by any of its processes, notifywrap included; what they execute as well
    own       by the target and its children alone
    programs  that the target's children execute, the target's own left out
    forks     does the target start processes?
    has_unix  has it an AF_UNIX socket with a name?
    """

    opened: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    forks: bool = False
    has_unix: bool = False


class Observation(NamedTuple):
    """What was seen of the service in one round; of the baseline's all else is judged by.

    error        why it did not get that far: "" when it was ready, stayed so, and was exercised.
                 In words, with the exit status, signal or result of systemd and the last log line
    denied       what the kernel refused it, as far as that can be seen ("EPERM socket", ...)
    ready_s      from the start to READY=1
    backlogs     of its listening sockets: address -> length of the queue
    warnings     log lines that tell of trouble, made comparable (no times, pids, addresses)
    threads      in all of its processes
    rss_bytes    of all of its processes
    burst_s      median and worst time of a connection of the burst; () when it does not listen
    burst_lost   connections of the burst that failed
    exercised    in the order of the options
    code         files that its processes execute, libraries as well
    connects     TCP ports that it seems to have connected to
    peers        addresses of other machines that it seems to have connected to
    backends     HOST:PORT of this machine that it seems to have connected to
    usage        what it was seen to use; of the baseline alone
    """

    error: str = ""
    denied: tuple[str, ...] = ()
    ready_s: float = 0.0
    backlogs: tuple[tuple[str, int], ...] = ()
    warnings: tuple[str, ...] = ()
    threads: int = 0
    rss_bytes: int = 0
    burst_s: tuple[float, ...] = ()
    burst_lost: int = 0
    exercised: tuple[Exercised, ...] = ()
    code: tuple[str, ...] = ()
    connects: tuple[int, ...] = ()
    peers: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    usage: Usage = Usage()
