"""PyPI's `sdnotify`: `from notifywrap.compat.sdnotify import SystemdNotifier`.

What differs is what goes wrong in the original: text from outside cannot add assignments, a full
queue blocks nobody, and the socket may have an abstract address or be on vsock.
"""

from __future__ import annotations

import os

from notifywrap.errors import NotifyError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.protocol.notify import Notifier as Sender

if TYPE_CHECKING:
    from typing import Self

__all__ = ["SystemdNotifier"]


class SystemdNotifier:
    """Sends what it is given, as it stands.

    debug  raise NotifyError where the original raises an exception with debug=True; without it
           failures are silent, as there
    """

    def __init__(self, debug: bool = False) -> None:
        self.debug = debug
        self._sender: Sender | None = None
        address = os.environ.get("NOTIFY_SOCKET")
        try:
            if address:
                self._sender = Sender(address)
            elif debug:
                raise NotifyError("NOTIFY_SOCKET is not set: not under systemd")
        except NotifyError:
            if debug:
                raise

    def notify(self, state: str) -> None:
        """Send *state*, for example "READY=1" or "STATUS=waiting"; lines are assignments."""
        try:
            if self._sender is not None:
                self._sender.send(state.encode("utf-8", "replace"))
        except NotifyError:
            if self.debug:
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sender is not None:
            self._sender.close()
