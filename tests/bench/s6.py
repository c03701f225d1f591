"""s6-notifyoncheck, set up as its manual says: a service directory, and a check in it."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from tests.bench.running import Run

__all__ = ["PAUSES_MS", "Service", "lack"]

PAUSES_MS = (1000, 50)  # its default, and what somebody in a hurry would write


def lack() -> str:
    """Why there is none; "" when there is."""
    needed = ("s6-notifyoncheck", "s6-supervise", "s6-svwait", "curl")
    lacks = [name for name in needed if shutil.which(name) is None]
    return f"not installed: there is no {lacks[0]} (script/setup bench)" if lacks else ""


class Service:
    """A target under s6-supervise. s6 does not speak to systemd: `s6-svwait -U` is what waits for
    it, and its end stands for READY=1."""

    def __init__(self, target: list[str], url: str, pause_ms: int) -> None:
        folder = Path(tempfile.mkdtemp(prefix="s6-"))
        (folder / "data").mkdir()
        (folder / "notification-fd").write_text("3\n")
        tries = "-n 0"  # as often as it takes: the default gives up after 7 s
        start = f"exec s6-notifyoncheck {tries} -w {pause_ms} {shlex.join(target)}\n"
        for name, line in (
            ("run", start),
            ("data/check", f"exec curl -fsS -o /dev/null --max-time 2 {shlex.quote(url)}\n"),
        ):
            (folder / name).write_text(f"#!/bin/sh\n{line}")
            (folder / name).chmod(0o755)
        self._folder = folder
        self._run = Run(["s6-supervise", str(folder)])
        self.pid, self.began_ns, self.inbox = self._run.pid, self._run.began_ns, self._run.inbox
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._thread.start()

    def _tell(self) -> None:
        """s6-svwait fails while s6-supervise has not made its files yet."""
        command = ["s6-svwait", "-t", "1000", "-U", str(self._folder)]
        while not self._is_over.is_set():
            if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    sender.sendto(b"READY=1", self.inbox.path)
                break

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._run.__exit__()
        shutil.rmtree(self._folder)

    def word(self) -> str:
        """As Run.word()."""
        return self._run.word()
