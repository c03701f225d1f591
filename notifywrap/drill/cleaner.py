"""Removes all that a drill made, however the drill ends: a process that waits for that end.

A drill that is killed cannot clean up, so it never does: only this process does, in every case,
when the pipe that only the drill holds is closed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from notifywrap.drill.starting import wait_for_exec
from notifywrap.drill.throwaway import state_directories
from notifywrap.drill.world import remove_traces

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

__all__ = ["Cleaner"]


_LIMIT_S, _POLL_S = 5.0, 0.01  # the kernel tells of a group's end in no other way


class Cleaner:
    """Cleans up on leaving the `with` block, or when this process ends in any other way.

    tag   everything that is removed begins with it
    home  a directory of the drill's own, removed with all that is in it
    more  directories in which attempts may have made files
    root  RootDirectory= of the unit: systemd has made mount points in it, which it leaves there
    """

    def __init__(self, tag: str, home: str, more: Iterable[str] = (), root: str = "") -> None:
        assert tag in home[5:], f"{home!r} is not ours"
        self._tag, self._home, self._more = tag, home, tuple(more)
        self._root = root.rstrip("/")
        self._unit, self._process = "", 0
        self._pid, self._pipe = 0, -1

    def __enter__(self) -> Cleaner:
        reading, self._pipe = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._pipe)
                self._serve(reading)
            finally:
                os._exit(0)
        os.close(reading)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._pipe)
        os.waitpid(self._pid, 0)

    def stops(self, unit: str) -> None:
        """The unit to stop and remove; to be said before it is made."""
        os.write(self._pipe, f"unit {unit}\n".encode())

    def kills(self, pid: int) -> None:
        """The process that makes the attempts, and leads a group; 0: it has ended."""
        os.write(self._pipe, f"process {pid}\n".encode())

    def _serve(self, reading: int) -> None:
        os.setsid()  # out of reach of the terminal's ctrl-C
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        with os.fdopen(reading) as file:
            for line in file:
                what, _, name = line.strip().partition(" ")
                if what == "unit":
                    self._unit = name
                else:
                    self._process = int(name)
        self._clean()

    def _clean(self) -> None:
        if self._unit:
            wait_for_exec([self._unit])
            _systemctl("kill", "--signal=KILL", self._unit)
            _systemctl("stop", self._unit)
            _unlink(f"/run/systemd/system/{self._unit}")
            _systemctl("reset-failed", self._unit)
        if self._process:
            _end(self._process)
        places = [f"{root}{each}" for root in {"", self._root} for each in state_directories()]
        for directory in places:
            for name in _list(directory):
                if name.startswith(self._tag):
                    _remove(f"{directory}/{name}")
        remove_traces(self._tag, self._more)
        shutil.rmtree(self._home, ignore_errors=True)


def _systemctl(*words: str) -> None:
    null = subprocess.DEVNULL
    subprocess.run(["systemctl", *words], stdin=null, stdout=null, stderr=null, check=False)


def _end(group: int) -> None:
    """Kill a process group, and wait until no one is left in it who could make files."""
    limit = time.monotonic() + _LIMIT_S
    try:
        while time.monotonic() < limit:
            os.killpg(group, signal.SIGKILL)
            time.sleep(_POLL_S)
    except ProcessLookupError:
        pass


def _remove(path: str) -> None:
    if os.path.islink(path):
        _unlink(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _list(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
