"""The jail that fits what was seen of a target: what it opened, executed, bound and connected to.

Pure. See `notifywrap --help jail` for the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.harden.learned import SETTINGS, generalise
from notifywrap.harden.model import Candidate, Setting, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from notifywrap.harden.model import Usage

__all__ = ["JAIL", "KEY", "join_jail", "offer_jail"]

KEY = "--jail"
JAIL = "NOTIFYWRAP_JAIL="
# Whatever it is: what describes the machine, and what is the same on each.
_ANYWAY = ("/usr", "/proc", "/sys", "/dev", "/run/systemd/resolve")
_WRITE = ("/tmp", "/var/tmp", "/dev/shm", "/dev/null")
_OF_SYSTEMD = ("/run/systemd", "/run/credentials")


def offer_jail(
    usage: Usage,
    *,
    states: Sequence[tuple[str, str]],
    writes: Sequence[str],
    binds: Sequence[int],
    connects: Sequence[int],
) -> tuple[Candidate, ...]:
    """A candidate for each kind of rule, so that one that does not fit costs no other.

    states  directories of its own, as ("%S", "web"): systemd fills in specifiers in Environment=,
            but no variables
    writes  other paths that it may write to
    """
    programs = [f"exec=-{path}" for path in usage.programs]
    ports = [f"bind={port}" for port in (*binds, 0)]  # Go binds 0 to see whether there is IPv6
    others = [f"connect={port}" for port in connects] or ["noconnect"]
    found = [
        _offer("exec", "it executes nothing else", [["exec", *programs]]),
        _offer("nofork", "it starts no process", [["nofork"]]) if not usage.forks else None,
        # It may have a socket and not miss it; gunicorn says an error.
        _offer("nounix", "no D-Bus, no syslog", [["nounix"]])._replace(is_risky=usage.has_unix),
        _offer("nomemfd", "no programs in memory", [["nomemfd"]]),
        _offer("nosignal", "it signals nobody but itself", [["nosignal"]]),
        _offer("files", "it reads and writes what it uses", _files(usage, states, writes)),
        _offer("bind", "it binds no other TCP port", [ports]),
        _offer("connect", "it connects to no other TCP port", [others]),
    ]
    return tuple(each for each in found if each)


def join_jail(settings: Iterable[Setting]) -> tuple[Setting, ...]:
    """*settings* with the rules in one line, as notifywrap is told them."""
    settings = tuple(settings)
    rules = [one.value for one in settings if one.key == KEY]
    others = tuple(one for one in settings if one.key != KEY)
    if not rules:
        return others
    return (*others, Setting("Environment", f"{JAIL}{','.join(rules)}"))


def _offer(name: str, why: str, tiers: Sequence[Sequence[str]]) -> Candidate:
    lines = [Tier((Setting(KEY, ",".join(rules)),)) for rules in tiers]
    return Candidate(f"{KEY}={name}", why, tuple(lines), group=KEY)


def _files(
    usage: Usage, states: Sequence[tuple[str, str]], writes: Sequence[str]
) -> list[list[str]]:
    """First with the settings that it reads alone, then with all of /etc."""
    own = [f"{specifier}/{name}" for specifier, name in states]
    write = [f"write=-{path}" for path in (*_WRITE, *own, *writes)]
    learned = generalise(usage.own, without=[*_ANYWAY, *_OF_SYSTEMD, *_WRITE, *writes])
    elsewhere = [path for path in learned if not path.startswith("/etc/")]
    return [
        [*_reads((*SETTINGS, *_ANYWAY, *learned)), *write],
        [*_reads(("/etc", *_ANYWAY, *elsewhere)), *write],
    ]


def _reads(paths: Iterable[str]) -> list[str]:
    """Without what is below another of them."""
    known = list(dict.fromkeys(paths))
    return [
        f"read=-{path}"
        for path in known
        if not any(path.startswith(f"{other}/") for other in known)
    ]
