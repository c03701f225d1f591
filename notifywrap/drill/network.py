"""Attempts on the network: which sockets can be had, and whom they reach.

Those that connect reach listeners that the drill itself has outside; nothing is sent to anybody
else but one datagram to an address that is reserved for documentation.
"""

from __future__ import annotations

import errno
import socket
from functools import partial

from notifywrap.drill.attempt import Attempt, Context, denied

__all__ = ["ATTEMPTS"]

_LOOPBACK = "127.0.0.1"
_NOWHERE = ("192.0.2.1", 9)  # RFC 5737, TEST-NET-1: routed to nobody; port 9 is discard
_TIMEOUT_S = 2.0
_IN_USE = (errno.EADDRINUSE,)  # asked after the permission
_UNDER_WAY = (errno.EINPROGRESS,)
_IPPROTO_MPTCP = 262  # linux/in.h
_MSG_FASTOPEN = 0x20000000  # linux/socket.h


def _open(family: str, kind: int, protocol: int, _: Context) -> None:
    number = getattr(socket, family, None)
    if number is None:  # a Python built without it
        raise denied(errno.EAFNOSUPPORT)
    socket.socket(number, kind, protocol).close()


def _bind(port: int, kind: int, _: Context) -> None:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind((_LOOPBACK, port))


def _connect(port: int, protocol: int = 0) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as one:
        one.settimeout(_TIMEOUT_S)
        one.connect((_LOOPBACK, port))


def _connect_backend(context: Context) -> None:
    _connect(context.backend_port)


def _connect_other(context: Context) -> None:
    _connect(context.other_port)


def _connect_mptcp(context: Context) -> None:
    _connect(context.other_port, _IPPROTO_MPTCP)


def _connect_fast(context: Context) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.settimeout(_TIMEOUT_S)
        one.sendto(b"", _MSG_FASTOPEN, (_LOOPBACK, context.other_port))


def _listen_unbound(_: Context) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.listen(1)  # the kernel picks a port: no bind(2) is seen


def _send(times: int, address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(_TIMEOUT_S)
        one.connect(address)
        for _ in range(times):
            one.send(b"notifywrap drill")


def _send_other(context: Context) -> None:
    _send(2, (_LOOPBACK, context.udp_port))  # the second is told that nobody took the first


def _connect_abstract(context: Context) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.settimeout(_TIMEOUT_S)
        one.connect("\0" + context.abstract)


def _opens(name: str, family: str, kind: int, protocol: int = 0) -> Attempt:
    return Attempt(name, "opens one, closes it", partial(_open, family, kind, protocol))


_STREAM, _DATAGRAM, _RAW = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW

ATTEMPTS = (
    _opens("socket AF_INET", "AF_INET", _STREAM),
    _opens("socket AF_UNIX", "AF_UNIX", _STREAM),
    _opens("socket AF_NETLINK", "AF_NETLINK", _RAW),
    _opens("socket AF_PACKET", "AF_PACKET", _RAW),
    _opens("socket AF_ALG", "AF_ALG", socket.SOCK_SEQPACKET),
    _opens("socket AF_VSOCK", "AF_VSOCK", _STREAM),
    Attempt(
        "raw ICMP",
        "opens a raw socket for ICMP, closes it",
        partial(_open, "AF_INET", _RAW, socket.IPPROTO_ICMP),
    ),
    Attempt("bind :81 (priv)", "binds port 81 for a moment", partial(_bind, 81, _STREAM), _IN_USE),
    Attempt(
        "bind :18081", "binds port 18081 for a moment", partial(_bind, 18081, _STREAM), _IN_USE
    ),
    Attempt(
        "connect backend",
        "connects to a listener of the drill's, on a port that --jail grants if it names any",
        _connect_backend,
    ),
    Attempt(
        "connect other local port",
        "connects to a listener of the drill's on another port",
        _connect_other,
    ),
    # More
    Attempt("connect by MPTCP", "to that other port, with another protocol", _connect_mptcp),
    Attempt(
        "connect by TCP fast open",
        "to that other port, with sendto(2) in place of connect(2)",
        _connect_fast,
        _UNDER_WAY,
    ),
    Attempt("listen without bind", "listens on a port of the kernel's choice", _listen_unbound),
    Attempt(
        "bind UDP :18081",
        "binds UDP port 18081 for a moment",
        partial(_bind, 18081, _DATAGRAM),
        _IN_USE,
    ),
    Attempt("UDP to a local port", "sends a datagram to the drill's own socket", _send_other),
    Attempt(
        "UDP egress",
        "sends a datagram to 192.0.2.1, an address for documentation that leads nowhere",
        lambda _: _send(1, _NOWHERE),
    ),
    Attempt(
        "connect an abstract socket",
        "connects to one of the drill's outside",
        _connect_abstract,
    ),
)
