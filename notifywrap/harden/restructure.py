"""What no search over directives finds: sockets of systemd, an address list, a root directory, the
jail. Pure."""

from __future__ import annotations

import ipaddress
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.harden.jailrules import offer_jail
from notifywrap.harden.model import Candidate, Setting, Socket, Tier, Usage
from notifywrap.harden.rootdirectory import offer_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["PRIVILEGED", "Seen", "list_restructurings"]

PRIVILEGED = 1024  # net.ipv4.ip_unprivileged_port_start


class Seen(NamedTuple):
    """What was seen of the service, and what its unit says.

    unit        its name
    can_jail    it is started by notifywrap, and has no --jail of its own
    can_root    it has no root directory of its own
    ports       that it listens on
    connects    ports that it was seen to connect to
    peers       addresses of other machines that it was seen to connect to, and of name servers
    usage       files, programs, processes
    runtime     names below /run
    states      its own directories, as ("%S", "web")
    writes      other paths that it may write to
    programs    that its unit names
    writable    mounts of its own
    inherits    it has sockets of systemd already
    names       of its ports, for the sockets
    filters_addresses  does IPAddressDeny= do anything here, and keeps no client out?
    """

    unit: str = "web.service"
    can_jail: bool = False
    can_root: bool = False
    ports: Sequence[int] = ()
    connects: Sequence[int] = ()
    peers: Sequence[str] = ()
    usage: Usage = Usage()
    runtime: Sequence[str] = ()
    states: Sequence[tuple[str, str]] = ()
    writes: Sequence[str] = ()
    programs: Sequence[str] = ()
    writable: Sequence[str] = ()
    inherits: bool = False
    names: Mapping[int, str] = MappingProxyType({})
    filters_addresses: bool = False


def list_restructurings(seen: Seen) -> tuple[Candidate, ...]:
    """Candidates from what was seen of the service."""
    found = [*_addresses(seen)]
    low = [port for port in seen.ports if port < PRIVILEGED]
    if low and not seen.inherits:
        found.append(_sockets(low, seen.names))
    # The root before the jail: a path of the jail that is not there in the root is none.
    if seen.can_root and seen.usage.opened:
        found.append(
            offer_root(
                seen.unit,
                seen.usage,
                programs=seen.programs,
                writes=seen.writes,
                runtime=seen.runtime,
                writable=seen.writable,
            )
        )
    if seen.can_jail:
        found += offer_jail(
            seen.usage,
            states=seen.states,
            writes=seen.writes,
            binds=[] if seen.inherits else seen.ports,
            connects=seen.connects,
        )
    return tuple(found)


def _sockets(low: Sequence[int], names: Mapping[int, str]) -> Candidate:
    sockets = tuple(Socket(names.get(port, str(port)), str(port)) for port in low)
    settings = (Setting("AmbientCapabilities", ""),)
    why = "systemd binds its ports, so it needs no privilege for them"
    return Candidate("sockets", why, (Tier(settings, sockets),), is_risky=True)


def _addresses(seen: Seen) -> Iterator[Candidate]:
    """Only where each peer is within a private network: what a name on the Internet leads to
    tomorrow, nobody knows."""
    if not seen.filters_addresses or not all(map(_is_private, seen.peers)):
        return
    peers = sorted(each for each in seen.peers if not ipaddress.ip_address(each).is_loopback)
    settings = (
        Setting("IPAddressDeny", "any"),
        Setting("IPAddressAllow", " ".join(["localhost", *peers])),
    )
    others = "and whom it was seen to connect to" if peers else "as nobody else was seen"
    why = f"it reaches nobody but this machine, {others} in the exercises"
    yield Candidate("IPAddressDeny", why, (Tier(settings),), is_risky=True)


def _is_private(address: str) -> bool:
    return ipaddress.ip_address(address).is_private
