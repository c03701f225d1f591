"""TCP ports for what tests start on this machine."""

from __future__ import annotations

import itertools
import os
import socket

__all__ = ["free_port"]

# Below net.ipv4.ip_local_port_range, or a client's own port could be in the way; apart from the
# ports of the real daemons' tests; and for each of the processes that run tests at a time its own.
_FIRST, _END = 20_000, 30_000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WIDTH = (_END - _FIRST) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_ports = itertools.cycle(range(_FIRST + _WORKER * _WIDTH, _FIRST + (_WORKER + 1) * _WIDTH))


def free_port() -> int:
    """A port that nobody uses, and that no other test is given for a long while."""
    for number in _ports:
        with socket.socket() as trial:
            try:
                trial.bind(("", number))
            except OSError:
                continue
        return number
    raise AssertionError("itertools.cycle ends only when there is nothing to cycle through")
