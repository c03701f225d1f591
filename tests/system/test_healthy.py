"""A server that works is never killed, however odd the way in which it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hosts import SERVER, Host, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WATCHDOG_S = 1.0
USUAL = ("TCP_DEFER_ACCEPT", "closes at once", "SO_REUSEPORT")  # nginx, Apache, health checks


@pytest.mark.slow
@pytest.mark.parametrize(
    "length_s", [2.0, pytest.param(10.0, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_odd_but_healthy_servers_are_never_killed(
    make_host: Callable[[], Host], tmp_path: Path, length_s: float
) -> None:
    """Each of them defeats a naive accept check; a watchdog with false alarms is switched off.

    They run side by side for several times WatchdogSec.
    """
    hosts = {}
    servers = odd_servers(tmp_path)
    for kind in servers if length_s > 5 else USUAL:
        options, target = servers[kind]
        hosts[kind] = make_host()
        assert hosts[kind].start(options, target, watchdog_s=WATCHDOG_S, restart="always").ok, kind
    for host in hosts.values():
        host.wait_fed_for(length_s)
    assert {kind: host.restarts for kind, host in hosts.items()} == dict.fromkeys(hosts, 0)


def odd_servers(directory: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Kind -> options of the wrapper, and the target."""
    defers, zero_defers, closes, workers, dual, slow, execs = (free_port() for _ in range(7))
    path = str(directory / "socket")
    check = f"/usr/bin/python3 -ISc 'import socket; socket.create_connection((\"::1\", {execs}))'"
    return {
        # accept() returns when data comes, and a probe of a port sends none
        "TCP_DEFER_ACCEPT": (["--probe", f"tcp:{defers}"], [*SERVER, "--defer", defers]),
        "TCP_DEFER_ACCEPT, zero-config": ([], [*SERVER, "--defer", zero_defers]),
        # the connection is gone before anybody can ask the kernel about it
        "closes at once": (["--probe", f"tcp:{closes}"], [*SERVER, "--speaks", "close", closes]),
        # which of the listening sockets gets the connection is the kernel's choice
        "SO_REUSEPORT": (["--probe", f"tcp:{workers}"], [*SERVER, "--workers", "3", workers]),
        # an IPv4 client's peer is an IPv4-mapped address of an IPv6 socket
        "IPv4 on an IPv6 socket": (["--probe", f"tcp:127.0.0.1:{dual}"], [*SERVER, f"[::]:{dual}"]),
        "slow, but in time": (
            ["--probe", f"http://127.0.0.1:{slow}/"],
            [*SERVER, "--speaks", "http", "--delay", "0.12", slow],
        ),
        "Unix socket": (["--ready", f"listen:{path}"], [*SERVER, path]),
        "exec probe": (["--probe", f"exec:{check}"], [*SERVER, f"[::1]:{execs}"]),
    }


@pytest.mark.slow
def test_busy_server_is_not_killed_for_an_answer_that_comes_late_now_and_then(
    host: Host, port: str
) -> None:
    """One round that fails costs a ping, not the service: WatchdogSec= spans four of them."""
    options = ["--probe", f"http://127.0.0.1:{port}/", "--timeout", "300ms"]
    target = [*SERVER, "--speaks", "http", "--delay", "0.05", "--stutter", "0.6", port]
    host.start(options, target, watchdog_s=2.0, restart="always")
    host.wait_fed_for(8.0)
    assert host.restarts == 0
