"""The socket that the target finds at NOTIFY_SOCKET. It is there before the target is; who hears
what comes there (relay.py) is loaded while the target starts."""

from __future__ import annotations

from notifywrap.errors import NotifywrapError
from notifywrap.lean import TYPE_CHECKING, socket
from notifywrap.protocol.wire import usec

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["invite", "open_mailbox"]


def open_mailbox() -> socket.socket:
    """A socket with a name of its own, for the target's messages.

    Raises NotifywrapError when there can be no such socket.
    """
    try:
        mailbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        # Before it has a name: else a message may come without its sender's.
        mailbox.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # The kernel finds a free name (unix(7), autobind). A path would need a directory that the
        # target reaches, whatever its user and root directory are.
        mailbox.bind(b"")
    except OSError as error:
        raise NotifywrapError(
            f"cannot make a socket for the target's notifications: {error.strerror}"
            " (--target-notify ignore does without)"
        ) from None
    return mailbox


def invite(mailbox: socket.socket, env: MutableMapping[str, str], watchdog_s: float | None) -> None:
    """Put into *env*, the target's, what sd_notify(3) and sd_watchdog_enabled(3) look for."""
    env["NOTIFY_SOCKET"] = "@" + mailbox.getsockname()[1:].decode("ascii")
    if watchdog_s is not None:
        env["WATCHDOG_USEC"] = usec(watchdog_s)
        env["WATCHDOG_PID"] = ""  # to be the target's own, see process.py
