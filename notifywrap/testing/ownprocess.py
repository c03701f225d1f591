"""The process of the test as the service, for code that is tested where the test itself runs."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from notifywrap.daemon.functions import swap_notifier
from notifywrap.testing.timeline import ManagerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from notifywrap.testing.service import Report

__all__ = ["OwnProcess"]

_present: OwnProcess | None = None


class OwnProcess:
    """In the place of a `Service`: nothing is started, and it does not end.

    From creation to close() os.environ has *settings*, and the names *own_pid_in* with our pid; a
    name with None is not there. The functions of `notifywrap` find them: what they had found before
    is put aside, and comes back with the rest. Raises ManagerError when there is one already.
    """

    stdout = stderr = None

    def __init__(self, settings: Mapping[str, str | None], own_pid_in: Sequence[str]) -> None:
        global _present
        if _present is not None:
            raise ManagerError("this process is the service of another manager: close() that first")
        _present = self
        self.pid, self.started_at = os.getpid(), time.monotonic()
        wanted = {**settings, **dict.fromkeys(own_pid_in, str(self.pid))}
        self._before = {name: os.environ.get(name) for name in wanted}
        _set(wanted)
        self._notifier = swap_notifier(None)
        self._handlers: dict[int, object] = {
            signum: signal.getsignal(signum) for signum in signal.valid_signals()
        }
        self._silent = os.eventfd(0, os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """For poll(2); it never has anything."""
        return self._silent

    def reports(self) -> list[Report]:
        """Nothing ever happens to this process."""
        return []

    def kill(self, signum: int, *, everyone: bool) -> bool:  # noqa: ARG002  there is only one
        """Send *signum* where the code under test has a handler for it; false where it has none.

        One that was there before us is of whoever runs the tests, and might end them.
        """
        handler = signal.getsignal(signum)
        if not callable(handler) or handler is self._handlers[signum]:
            return False
        os.kill(self.pid, signum)
        return True

    def close(self) -> None:
        """Everything is as it was before."""
        global _present
        _present = None
        os.close(self._silent)
        own = swap_notifier(self._notifier)
        if own is not None:
            own.close()
        _set(self._before)


def _set(wanted: Mapping[str, str | None]) -> None:
    for name, value in wanted.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
