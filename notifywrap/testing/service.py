"""The processes of one service, as the stand-in manager sees them: started, signalled, ended."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

__all__ = ["Empty", "Exited", "Report", "Service"]

_START_LIMIT_S = 20.0  # for a bare interpreter to start: 20 ms where nothing else runs
_END_LIMIT_S = 20.0  # for SIGKILL to be obeyed by everybody


class Exited(NamedTuple):
    """The main process ended with this wait(2) status; *others_left*: but not the whole service."""

    status: int
    others_left: bool


class Empty(NamedTuple):
    """No process of the service is left."""


Report = Exited | Empty


class Service:
    """Starts *command* in a cage of its own (see `cage`), as `pid` at `started_at` (monotonic).

    own_pid_in  variables that are set to the command's own pid, which only the child can know
    Raises ChildProcessError when the cage does not come up.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        own_pid_in: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
    ) -> None:
        self._control, theirs = socket.socketpair()
        cage = str(Path(__file__).with_name("cage.py"))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", cage, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self.stdout, self.stderr = self._process.stdout, self._process.stderr
        self._unread = b""
        self._order(command=list(command), env=dict(env), own_pid_in=list(own_pid_in))
        self._early: list[dict[str, float]] = []
        while not self._early:
            if not select.select([self._control], [], [], _START_LIMIT_S)[0] or self._ended():
                self.close()
                raise ChildProcessError(f"cannot start {command[0]!r}: its cage did not come up")
            self._early = self._read()
        started = self._early.pop(0)
        self.pid, self.started_at = int(started["pid"]), started["at"]

    def fileno(self) -> int:
        """For poll(2); early reports do not show there, so call reports() once first."""
        return self._control.fileno()

    def reports(self) -> list[Report]:
        """What has happened since the last call. Raises ChildProcessError when the cage is gone."""
        if select.select([self._control], [], [], 0)[0]:
            if self._ended():
                raise ChildProcessError("the cage of the service was killed")
            self._early += self._read()
        fresh, self._early = self._early, []
        return [_parse_report(report) for report in fresh]

    def kill(self, signum: int, *, everyone: bool) -> bool:
        """Send *signum* to the main process or to everyone, and SIGCONT after it. Always true."""
        self._order(signum=signum, everyone=everyone)
        return True

    def close(self) -> None:
        """Kills what is left, waits for it, and lets go."""
        self._control.close()
        try:
            self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            raise

    def _order(self, **order: object) -> None:
        try:
            self._control.sendall(json.dumps(order).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the cage is gone; reports() says so

    def _ended(self) -> bool:
        try:
            return not self._control.recv(1, socket.MSG_PEEK)
        except ConnectionResetError:
            return True

    def _read(self) -> list[dict[str, float]]:
        *lines, self._unread = (self._unread + self._control.recv(65536)).split(b"\n")
        return [json.loads(line) for line in lines]


def _parse_report(report: dict[str, float]) -> Report:
    if "status" in report:
        return Exited(int(report["status"]), bool(report["others"]))
    return Empty()
