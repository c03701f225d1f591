"""A client for servers in a lab, in the test's own process: sockets of the lab's network."""

from __future__ import annotations

import ctypes
import http.client
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.testing.lab import Lab

__all__ = ["Reply", "Request", "ask", "until_in"]

_libc = ctypes.CDLL(None, use_errno=True)


class Reply(NamedTuple):
    status: int
    text: str


class Request:
    """GET *path* of 127.0.0.1:*port* in *lab*: sent, and its reply read when one is wanted."""

    def __init__(self, lab: Lab, port: int, path: str = "/", *, limit_s: float = 20.0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._connection.sock = _connect(lab, port, limit_s)
        self._connection.request("GET", path, headers={"Connection": "close"})

    def reply(self) -> Reply:
        try:
            response = self._connection.getresponse()
            return Reply(response.status, response.read().decode())
        finally:
            self._connection.close()

    def close(self) -> None:
        self._connection.close()


def ask(lab: Lab, port: int, path: str = "/") -> Reply:
    return Request(lab, port, path).reply()


def until_in(read: Callable[[], str], wanted: str, *, limit_s: float = 15.0) -> None:
    """Wait until *wanted* is in what can be read."""
    deadline = time.monotonic() + limit_s
    while wanted not in (text := read()):
        assert time.monotonic() < deadline, f"no {wanted!r} in {text!r}"
        time.sleep(0.02)


def _connect(lab: Lab, port: int, limit_s: float) -> socket.socket:
    """A thread may be in another network namespace than its process; a socket stays where it was
    made. Source: setns(2)."""
    made: list[socket.socket | OSError] = []

    def connect() -> None:
        try:
            with open(f"/proc/{lab.pid}/ns/net") as namespace:
                if _libc.setns(namespace.fileno(), 0):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made.append(socket.create_connection(("127.0.0.1", port), limit_s))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]
