"""Which TCP ports a service connects to, as far as the kernel's table tells afterwards.

A closed connection stays in it for a minute (TIME_WAIT), without its owner: so what is new in it
since the round began, and does not lead to the service itself, is taken for the service's. On a
machine with other traffic that is too much rather than too little, and what is too little is found
when it is tried.
"""

from __future__ import annotations

import ipaddress
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Connection", "find_backends", "find_peers", "find_ports", "parse_table", "read_table"]

_FILES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN = 10
# net.ipv4.ip_local_port_range begins here, unless somebody has changed it.
_EPHEMERAL = 32768


class Connection(NamedTuple):
    """One line of the table: both ports, and the address of the other end."""

    local: int
    remote: int
    peer: str = "127.0.0.1"


def read_table() -> frozenset[Connection]:
    """All TCP connections of this network namespace, whatever became of them."""
    found: set[Connection] = set()
    for path in _FILES:
        try:
            with open(path, encoding="ascii") as file:
                found |= parse_table(file.read())
        except OSError:
            pass  # no IPv6, or no /proc/net
    return frozenset(found)


def parse_table(text: str) -> set[Connection]:
    """The connections in the text of proc_pid_net(5)'s tcp or tcp6."""
    found = set()
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and int(fields[3], 16) != _LISTEN:
            ports = [int(field.rpartition(":")[2], 16) for field in fields[1:3]]
            found.add(Connection(ports[0], ports[1], _address(fields[2].rpartition(":")[0])))
    return found


def _address(digits: str) -> str:
    """From words of 32 bits in the machine's order; IPv4 in IPv6 is IPv4."""
    words = [bytes.fromhex(digits[start : start + 8]) for start in range(0, len(digits), 8)]
    order = (lambda word: word[::-1]) if sys.byteorder == "little" else bytes
    address = ipaddress.ip_address(b"".join(map(order, words)))
    return str(getattr(address, "ipv4_mapped", None) or address)


def find_peers(
    before: frozenset[Connection], after: Iterable[Connection], own: Iterable[int]
) -> tuple[str, ...]:
    """The other machines that the service has connected to since *before*."""
    mine = set(own)
    found = {each.peer for each in set(after) - before if each.local not in mine}
    return tuple(sorted(each for each in found if not ipaddress.ip_address(each).is_loopback))


def find_backends(
    before: frozenset[Connection], after: Iterable[Connection], own: Iterable[int]
) -> tuple[str, ...]:
    """The other services of this machine that it has connected to since *before*, as HOST:PORT."""
    mine = set(own)
    found = {
        f"[{each.peer}]:{each.remote}" if ":" in each.peer else f"{each.peer}:{each.remote}"
        for each in set(after) - before
        if each.local >= _EPHEMERAL > each.remote
        and not mine & {each.local, each.remote}
        and ipaddress.ip_address(each.peer).is_loopback
    }
    return tuple(sorted(found))


def find_ports(
    before: frozenset[Connection], after: Iterable[Connection], own: Iterable[int]
) -> tuple[int, ...]:
    """The ports that connections which were not there *before* lead to, but to none of *own*.

    Of a connection within this machine both ends are in the table: the client's port is ephemeral.
    """
    mine = set(own)
    found = set()
    for each in set(after) - before:
        if not mine & set(each):
            found.add(each.remote if each.local >= _EPHEMERAL else each.local)
    return tuple(sorted(found))
