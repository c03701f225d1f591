"""Fresh interpreters: what a library costs is seen only where nothing has loaded it before."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

from tests.bench import proc

if TYPE_CHECKING:
    from typing import Self

    from tests.bench.peers import Candidate

__all__ = ["Fresh", "Listener"]

_LIMIT_S = 60.0


class Listener:
    """The other end of NOTIFY_SOCKET: a thread that reads all, as a systemd that is not busy."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="notifywrap-bench-")
        self.path = os.path.join(self._folder.name, "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self.heard = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"X_END=1", self.path)
        self._thread.join(_LIMIT_S)
        self._socket.close()
        self._folder.cleanup()

    def _read(self) -> None:
        while (datagram := self._socket.recv(4096)) != b"X_END=1":
            self.heard += datagram.startswith((b"READY=1", b"WATCHDOG=1"))


class Fresh:
    """`python3 -I -S` that runs *program* with the candidate on its path, and stays until the end
    of the `with` block; `words` is what it has printed in one line."""

    def __init__(self, candidate: Candidate, program: str, address: str = "") -> None:
        start = f"import sys; sys.path.insert(0, {str(candidate.where)!r})\n"
        end = "\nsys.stdout.flush(); sys.stdin.read()"
        env = {"NOTIFY_SOCKET": address} if address else {}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", start + program + end],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            assert selector.select(_LIMIT_S), f"it has said nothing for {_LIMIT_S:g} s"
        self.words = self._process.stdout.readline().split()
        assert self.words, "it has ended without a word: see above"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=_LIMIT_S)

    def memory_mb(self) -> dict[str, float]:
        """RSS, PSS and USS."""
        return proc.memory_mb(self._process.pid)
