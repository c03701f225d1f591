"""Keeps every process of one service under one roof, as systemd's control group does.

A child subreaper: whatever the service forks, daemonizes or leaves behind stays below this process,
so that it can be signalled, waited for and ended to the last one, and nobody else's children are
touched. It obeys the stand-in manager through a socket, one JSON object per line; when the manager
is gone, for whatever reason, it kills all that is left and ends. It is run as a program of its own,
by `python -I -S`, so only the standard library is here.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["main"]

_PR_SET_CHILD_SUBREAPER = 36
_EXEC_FAILED = 203  # EXIT_EXEC, what systemd reports as status=203/EXEC


def main() -> None:
    """argv[1]: the number of the socket's descriptor."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    Cage(control).run()


class Cage:
    """One service: its main process, and all that came from it."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._unread = b""
        self._main = 0  # 0: reaped, or not yet there
        self._told_empty = False
        self._killing = False  # what is still forking is killed again at each wake-up

    def run(self) -> None:
        """Returns when the manager is gone and no process is left."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write)
        orders: list[dict[str, Any]] | None = []
        while not orders:
            orders = self._read_orders()
            if orders is None:
                return
        self._start(orders[0])
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        obeying = True
        while self._reap() or obeying:
            for fd, _ in poll.poll():
                if fd == wake_read:
                    os.read(wake_read, 4096)
                elif (orders := self._read_orders()) is not None:
                    for order in orders:
                        self._kill(**order)
                else:
                    obeying = False
                    poll.unregister(self._control)
                    self._kill(signal.SIGKILL, everyone=True)
            if self._killing:
                self._kill(signal.SIGKILL, everyone=True)

    def _read_orders(self) -> list[dict[str, Any]] | None:
        """What the manager has sent, blocking for it; None when the manager is gone."""
        try:
            received = self._control.recv(65536)
        except ConnectionError:
            received = b""
        *lines, self._unread = (self._unread + received).split(b"\n")
        return [json.loads(line) for line in lines] if received else None

    def _start(self, plan: dict[str, Any]) -> None:
        at = time.monotonic()
        self._main = os.fork()
        if self._main == 0:
            try:
                _become(plan)
            except (OSError, ValueError) as error:
                os.write(2, f"cannot execute {plan['command'][0]!r}: {error}\n".encode())
            finally:
                os._exit(_EXEC_FAILED)
        # The service's output ends with the service, not with us.
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        self._report(event="started", pid=self._main, at=at)

    def _reap(self) -> bool:
        """Collects whoever has died; False when nobody is left."""
        exited = None
        left = True
        while left:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                left = False
                break
            if pid == 0:
                break
            if pid == self._main:
                self._main, exited = 0, status
        if exited is not None:
            self._report(event="exited", status=exited, others=left)
        if not left and not self._told_empty:
            self._told_empty = True
            self._report(event="empty")
        return left

    def _kill(self, signum: int, everyone: bool) -> None:
        self._killing = self._killing or (everyone and signum == signal.SIGKILL)
        done = set()
        if self._main:
            done.add(self._main)
            _send(self._main, signum)
        while everyone and (fresh := _descendants() - done):  # those forked meanwhile as well
            done |= fresh
            for pid in fresh:
                _send(pid, signum)

    def _report(self, **fields: object) -> None:
        try:
            self._control.sendall(json.dumps(fields).encode() + b"\n")
        except OSError:
            pass  # the manager is gone; _read_orders() says so as well


def _become(plan: dict[str, Any]) -> None:
    """The child's way into the command, into what systemd gives a service."""
    os.setsid()
    for signum in range(1, signal.NSIG):
        if signum not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):  # 32, 33: glibc's own
            signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # IgnoreSIGPIPE=yes, the default
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    pid = str(os.getpid())
    own = dict.fromkeys(plan["own_pid_in"], pid)
    os.execvpe(plan["command"][0], plan["command"], {**plan["env"], **own})


def _send(pid: int, signum: int) -> None:
    """As systemd: CONT behind it, or a stopped process would not notice."""
    try:
        os.kill(pid, signum)
        if signum != signal.SIGKILL:
            os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass  # ESRCH: dead already


def _descendants() -> set[int]:
    """Everybody below this process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_bytes()
            except OSError:
                continue  # ENOENT, ESRCH: gone while we read
            parents[int(entry.name)] = int(stat[stat.rindex(b")") + 2 :].split(b" ", 2)[1])
    found: set[int] = set()
    below = {os.getpid()}
    while below:
        below = {pid for pid, parent in parents.items() if parent in below}
        found |= below
    return found


if __name__ == "__main__":
    main()
