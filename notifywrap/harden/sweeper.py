"""Removes all that harden has made, however it ends: a process that waits for that end.

Whoever is killed cannot clean up, so this process alone does, in every case, when the pipe that
only harden holds is closed.
"""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from notifywrap.drill.starting import wait_for_exec

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["MARK", "PLACE", "UNITS", "Sweeper", "end_processes", "end_units"]

MARK = "NOTIFYWRAP_UNIT"  # in the environment of what belongs to a round
UNITS = "/run/systemd/system"
PLACE = "/run"  # for what harden itself writes; what begins with the tag there is swept
_LIMIT_S, _POLL_S = 5.0, 0.01
_PLACES = ("/var/lib", "/var/cache", "/var/log", "/run")


class Sweeper:
    """Sweeps on leaving the `with` block, or when this process ends in any other way.

    tag  all that is removed begins with it: units, and what lies where systemd makes directories
    """

    def __init__(self, tag: str) -> None:
        assert len(tag) > len("notifywrap-"), f"{tag!r} is not ours alone"
        self._tag = tag
        self._pid, self._pipe = 0, -1

    def __enter__(self) -> Sweeper:
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

    def makes(self, path: str) -> None:
        """An empty directory or a link that is made outside; to be said before."""
        os.write(self._pipe, f"{path}\n".encode())

    def _serve(self, reading: int) -> None:
        os.setsid()  # out of reach of the terminal's ctrl-C
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        # It ends when nobody has the other end any more: a child that has not yet become what it is
        # to be has it, too.
        with os.fdopen(reading) as file:
            made = [line.strip() for line in file]
        end_processes(self._tag)
        end_units(self._tag)
        for place in _PLACES:
            for base in (place, f"{place}/private"):
                for path in glob.glob(f"{glob.escape(f'{base}/{self._tag}')}*"):
                    _remove(path)
        for path in reversed(made):
            _remove_empty(path)


def end_units(tag: str) -> None:
    """End and forget the units whose names begin with *tag*, sockets first: they start services."""
    names = [os.path.basename(path) for path in glob.glob(f"{UNITS}/{glob.escape(tag)}*")]
    names.sort(key=lambda name: not name.endswith(".socket"))
    if not names:
        return
    wait_for_exec(names)
    for words in (["stop", "--no-block"], ["kill", "--signal=KILL"], ["stop"]):
        _systemctl(*words, *names)
    for name in names:
        os.unlink(f"{UNITS}/{name}")
    _systemctl("reset-failed", *names)


def end_processes(tag: str) -> None:
    """End all that was started with $NOTIFYWRAP_UNIT of this tag, wherever it has gone since;
    returns when there is nobody who could make files."""
    limit = time.monotonic() + _LIMIT_S
    while (pids := _find_marked(f"{MARK}={tag}".encode())) and time.monotonic() < limit:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has ended
        time.sleep(_POLL_S)  # for processes that are not ours the kernel has no other way


def _find_marked(mark: bytes) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if any(line.startswith(mark) for line in file.read().split(b"\0")):
                    found.append(int(name))
        except (OSError, ValueError):
            pass  # not a process, or none any more
    return found


def _systemctl(*words: str) -> None:
    null = subprocess.DEVNULL
    subprocess.run(["systemctl", *words], stdin=null, stdout=null, stderr=null, check=False)


def _remove(path: str) -> None:
    if os.path.islink(path) or os.path.isfile(path):
        os.unlink(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _remove_empty(path: str) -> None:
    try:
        if os.path.islink(path):
            os.unlink(path)
        else:
            os.rmdir(path)
    except OSError:
        pass  # ENOTEMPTY: somebody has put something there, which is not ours
