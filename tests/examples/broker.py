"""A real redis-server in the lab, for the examples that take their work from one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import pytest
import redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit

__all__ = ["Broker", "broker", "poll", "wait_status"]

T = TypeVar("T")


class Broker:
    """Listens on 127.0.0.1:6379 in the lab; its socket is in the test's folder, for both sides."""

    def __init__(self, unit: Unit, socket: Path) -> None:
        self.unit = unit
        self.socket = socket
        self.client = redis.Redis(unix_socket_path=str(socket), decode_responses=True)


@pytest.fixture
def broker(lab: Lab, unit: Callable[..., Unit], tmp_path: Path) -> Iterator[Broker]:
    """Not started yet: `broker.unit.start()`. Debian's own, which the examples' units want, is out
    of the way."""
    lab.systemctl("mask", "--now", "redis-server.service", check=True)
    socket = tmp_path / "redis.sock"
    words = f"--port 6379 --unixsocket {socket} --save '' --supervised systemd --dir {tmp_path}"
    one = Broker(
        unit(Type="notify", ExecStart=f"/usr/bin/redis-server {words}", start=False), socket
    )
    yield one
    one.client.close()
    lab.systemctl("unmask", "redis-server.service", check=True)


def poll(ask: Callable[[], T], limit_s: float = 30.0) -> T:
    """Ask again and again until the answer is true, and return it."""
    deadline = time.monotonic() + limit_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {limit_s:g} s"
        time.sleep(0.02)
    return answer


def wait_status(unit: Unit, part: str, limit_s: float = 30.0) -> str:
    """Wait until STATUS has *part*, and return all of it."""
    deadline = time.monotonic() + limit_s
    while part not in (status := unit.show("StatusText")["StatusText"]):
        assert time.monotonic() < deadline, f"{part!r} is not in {status!r}\n{unit.journal()}"
        time.sleep(0.02)
    return status
