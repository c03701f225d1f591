"""A command under measurement, and what it tells systemd, with the moment it was heard."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import proc
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

__all__ = [
    "LIMIT_S", "Inbox", "Run", "free_port", "served", "stay_up", "target_of", "until_served",
]  # fmt: skip

LIMIT_S = 120.0  # of every wait: only what has broken takes as long
TARGET = Path(__file__).with_name("target.py")


class Inbox:
    """The other end of NOTIFY_SOCKET. Descriptors that come along are closed, which is the answer
    to BARRIER=1."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)

    def fileno(self) -> int:
        return self._socket.fileno()

    def next(self, limit_s: float = LIMIT_S) -> tuple[int, bytes]:
        """(when it came, in ns; the datagram). Raises TimeoutError after *limit_s*."""
        self._socket.settimeout(limit_s)
        datagram = self._socket.recv(65536)
        return time.monotonic_ns(), datagram

    def wait(self, assignment: bytes, count: int = 1, limit_s: float = LIMIT_S) -> int:
        """When the *count*th datagram with this assignment came, in ns."""
        deadline = time.monotonic() + limit_s
        while count:
            came, datagram = self.next(max(0.001, deadline - time.monotonic()))
            count -= assignment in datagram.split(b"\n")
        return came

    def close(self) -> None:
        self._socket.close()


class Run:
    """*words*, from its exec to the end of the `with` block; nothing of it is left then.

    began_ns  the moment before its exec, on CLOCK_MONOTONIC
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        watchdog_s: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> None:
        self.inbox = Inbox(tempfile.mktemp(prefix="notify-"))
        # PYTHONDONTWRITEBYTECODE and the like are for whoever runs this, not for what is measured.
        plain = {name: value for name, value in os.environ.items() if name[:6] != "PYTHON"}
        whole = {**plain, **(env or {}), "NOTIFY_SOCKET": self.inbox.path}
        if watchdog_s is not None:
            whole["WATCHDOG_USEC"] = str(round(watchdog_s * 1e6))
        self.began_ns = time.monotonic_ns()
        self.process = subprocess.Popen(
            words, env=whole, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        proc.end(self.pid)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.inbox.close()
        Path(self.inbox.path).unlink()

    def word(self) -> str:
        """The next word that the target prints."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], LIMIT_S)
        assert ready, f"the target has said nothing for {LIMIT_S:g} s: {self.process.args!r}"
        said = self.process.stdout.readline().decode().strip()
        assert said, f"it has ended without a word: {self.process.args!r}"
        return said

    def wait(self) -> int:
        """When it had ended, in ns."""
        ended = os.pidfd_open(self.pid)  # Popen.wait() with a limit looks every few ms
        try:
            assert select.select([ended], [], [], LIMIT_S)[0], "it does not end"
            return time.monotonic_ns()
        finally:
            os.close(ended)


def served(port: int, start_s: float = 0.0, *, unwell: bool = False) -> list[str]:
    """A daemon that serves *port* after *start_s* and prints when; *unwell*: it answers 503 until
    then."""
    words = [sys.executable, "-I", "-S", str(TARGET), str(port), str(start_s)]
    return [*words, "unwell"] if unwell else words


def target_of(pid: int, name: str) -> int:
    """The process below *pid* that has executed the program of this name."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        for member in proc.tree(pid)[1:]:
            if proc.name_of(member) == name:
                return member
        assert time.monotonic() < deadline, f"{pid} has started no {name}"
        stay_up(pid, 0.001)


def stay_up(pid: int, length_s: float) -> None:
    """The length of a measurement, or of a pause in one; fails at once when process *pid* ends
    meanwhile, as nothing would be measured any more."""
    ended = os.pidfd_open(pid)
    try:
        assert not select.select([ended], [], [], length_s)[0], f"process {pid} has ended"
    finally:
        os.close(ended)


def until_served(run: Run, port: int) -> None:
    """Wait until *run* accepts connections there."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nobody serves port {port}"
            stay_up(run.pid, 0.01)
