"""systemd-python's `systemd.daemon.notify`: `from notifywrap.compat.daemon import notify`."""

from __future__ import annotations

import os

from notifywrap.errors import NotifyError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.protocol.notify import Notifier as Sender

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["booted", "notify"]


def booted() -> bool:
    """Is systemd the init of this machine? Source: sd_booted(3)."""
    return os.path.isdir("/run/systemd/system")


def notify(
    status: str,
    unset_environment: bool = False,
    pid: int = 0,
    fds: Sequence[int] | None = None,
) -> bool:
    """Send *status*, lines of assignments; True when systemd has it, False when there is none.

    unset_environment  remove NOTIFY_SOCKET, so that no later call sends anything
    pid                must be 0 or our own: speaking for another process needs privileges that a
                       daemon should not have
    fds                file descriptors to send along, for FDSTORE=1

    Raises OSError (NotifyError is none) where the original does.
    """
    if pid not in (0, os.getpid()):
        raise OSError(f"cannot notify systemd for process {pid}: write MAINPID={pid} instead")
    address = os.environ.get("NOTIFY_SOCKET")
    if unset_environment:
        os.environ.pop("NOTIFY_SOCKET", None)
    if not address:
        return False
    try:
        with Sender(address) as sender:
            return sender.send(status.encode("utf-8", "replace"), tuple(fds or ()))
    except NotifyError as error:
        raise OSError(str(error)) from None
