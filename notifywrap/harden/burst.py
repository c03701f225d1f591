"""A burst of connections: what a queue that is too short shows, and no health check sees."""

from __future__ import annotations

import selectors
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["connect_at_once"]

# More than the queue of 128 that programs fall back to, and a SYN that is dropped is sent again
# after a second.
_CONNECTIONS = 200
_LIMIT_S = 3.0


def connect_at_once(ports: Iterable[int]) -> tuple[tuple[float, ...], int]:
    """((median, worst) time of a connection in seconds, how many were lost); all to 127.0.0.1.

    () when there is no port.
    """
    times: list[float] = []
    lost = 0
    for port in ports:
        took, failed = _connect("127.0.0.1", port)
        times += took
        lost += failed
    times.sort()
    return ((times[len(times) // 2], times[-1]) if times else ()), lost


def _connect(host: str, port: int) -> tuple[list[float], int]:
    times, lost = [], 0
    began: dict[socket.socket, float] = {}
    with selectors.DefaultSelector() as selector:
        for _ in range(_CONNECTIONS):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((host, port))
            began[one] = time.monotonic()
            selector.register(one, selectors.EVENT_WRITE)
        deadline = time.monotonic() + _LIMIT_S
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(deadline - time.monotonic()):
                one = key.fileobj  # type: ignore[assignment]
                selector.unregister(one)
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    lost += 1
                else:
                    times.append(time.monotonic() - began[one])
        lost += len(selector.get_map())
    for one in began:
        one.close()
    return times, lost
