"""A command that runs in a lab, seen from outside: nsenter(1), whose only child it is.

A command whose nsenter is killed becomes an orphan of the host; once dead it is a zombie until the
host's pid 1 takes it, which in a container may be never, and until then the kernel does not end the
lab's pid namespace (pid_namespaces(7)). So signals go to the command, and nsenter ends as it does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

from notifywrap.probes.tree import children

__all__ = ["Entered"]

_LIMIT_S, _POLL_S = 5.0, 0.001  # nsenter forks and ends within milliseconds, and tells nobody
_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Entered(subprocess.Popen[Any]):
    """As any Popen, but send_signal(), terminate() and kill() reach the command in the lab."""

    def send_signal(self, sig: int) -> None:
        """Send it to the command; nothing when that has ended."""
        deadline = time.monotonic() + _LIMIT_S
        while self.poll() is None and not children(self.pid):
            assert time.monotonic() < deadline, f"{self.args!r} has not forked"
            time.sleep(_POLL_S)
        if self.returncode is None:
            self._pass_on(sig)

    def kill_group(self) -> None:
        """Kill the command and what it has started, unless that has left its process group."""
        if self.returncode is None:  # so the group is still its own, also when nsenter has ended
            self._pass_on(signal.SIGKILL)
            os.killpg(self.pid, signal.SIGKILL)

    def _pass_on(self, sig: int) -> None:
        self._send(sig)
        # nsenter may be just about to fork, or to stop itself, and would never end.
        deadline = time.monotonic() + _LIMIT_S
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while sig == signal.SIGKILL and os.waitid(os.P_PID, self.pid, ended) is None:
            assert time.monotonic() < deadline, f"{self.args!r} does not end"
            time.sleep(_POLL_S)
            self._send(sig)

    def _send(self, sig: int) -> None:
        for pid in children(self.pid):
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass  # it has ended meanwhile
        if sig not in _STOPS:
            os.kill(self.pid, signal.SIGCONT)  # it stops when the command does
