"""What no search over directives finds: the jail, sockets of systemd, an address list. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.harden.model import Candidate, Setting, Socket, Tier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["list_restructurings"]

_BASE = "exec,nofork,nounix,nomemfd,nosignal"
# What programs read that nobody thinks of: settings of the libraries, zones, certificates.
_READ = "read=/etc,read=/usr,read=/proc,read=-/sys,read=-/dev,read=-/run/systemd/resolve"
_WRITE = "write=-/tmp,write=-/var/tmp,write=-/dev/null"
_PRIVILEGED = 1024  # net.ipv4.ip_unprivileged_port_start


def list_restructurings(
    *,
    can_jail: bool,
    ports: Sequence[int],
    connects: Sequence[int],
    states: Sequence[str],
    inherits: bool,
    names: dict[int, str],
    filters_addresses: bool,
) -> tuple[Candidate, ...]:
    """Candidates from what was seen of the service.

    can_jail   it is started by notifywrap, and has no --jail of its own
    ports      that it listens on
    connects   ports that it was seen to connect to
    states     of StateDirectory=
    inherits   it has sockets of systemd already
    names      of its ports, for the sockets
    filters_addresses  does IPAddressDeny= do anything here?
    """
    found = [*_addresses(filters_addresses)]
    low = [port for port in ports if port < _PRIVILEGED]
    if low and not inherits:
        found.append(_sockets(low, names))
    if can_jail:
        found.append(_jail(ports, connects, states=states, inherits=inherits))
    return tuple(found)


def _jail(
    ports: Sequence[int], connects: Sequence[int], *, states: Sequence[str], inherits: bool
) -> Candidate:
    # %S: systemd fills in specifiers in Environment=, but no variables.
    files = ",".join([_READ, _WRITE, *[f"write=%S/{name}" for name in states]])
    bound = [] if inherits else [f"bind={port}" for port in ports]
    binds = ",".join([*bound, "bind=0"])  # Go binds port 0 to see whether there is IPv6
    reached = ",".join(f"connect={port}" for port in connects) or "noconnect"
    rules = (
        f"{_BASE},{files},{binds},{reached}",
        f"{_BASE},{files},{binds}",
        f"{_BASE},{files}",
        _BASE,
        "exec,nounix,nomemfd",
    )
    key = "Environment"
    tiers = [Tier((Setting(key, f"NOTIFYWRAP_JAIL={each}"),)) for each in rules]
    why = "the daemon alone, not notifywrap: it executes nothing else, and reaches what is named"
    return Candidate("jail", why, tuple(tiers), is_risky=True)


def _sockets(low: Sequence[int], names: dict[int, str]) -> Candidate:
    sockets = tuple(Socket(names.get(port, str(port)), str(port)) for port in low)
    settings = (Setting("AmbientCapabilities", ""),)
    why = "systemd binds its ports, so it needs no privilege for them"
    return Candidate("sockets", why, (Tier(settings, sockets),), is_risky=True)


def _addresses(filters_addresses: bool) -> Iterator[Candidate]:
    if filters_addresses:
        settings = (Setting("IPAddressDeny", "any"), Setting("IPAddressAllow", "localhost"))
        why = "it reaches nobody but this machine, as nobody else was seen in the exercises"
        yield Candidate("IPAddressDeny", why, (Tier(settings),), is_risky=True)
