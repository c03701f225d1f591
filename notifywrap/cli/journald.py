"""`--log journal`: lines that go to journald directly, with fields to search by."""

from __future__ import annotations

import select

from notifywrap.cli.journal import LONGEST, Journal
from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING, socket
from notifywrap.policy.events import Level

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["choose_journal"]

# systemd-journald.service(8). A socket unit holds it: it outlives restarts of journald.
ADDRESS = "/run/systemd/journal/socket"


def choose_journal(most: Level, command: str) -> Callable[[Level, str], None]:
    """What says lines in journald's own protocol; where journald is not there, stderr says why.

    most     lines of less weight than this are left out
    command  the target's, for the field NOTIFYWRAP_COMMAND=

    Raises SpecError where systemd-python is not installed.
    """
    try:
        # The C half of `systemd.journal`: that one imports logging, and takes 5 MB for it.
        from systemd._journal import sendv
    except ImportError:
        raise SpecError(
            "--log: journal needs systemd-python: install notifywrap[systemd]"
            " or Debian's python3-systemd"
        ) from None
    try:
        guard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        guard.connect(ADDRESS)
    except OSError as error:
        say = Journal(most).say
        say(Level.NOTICE, f"--log journal: no journald here ({error.strerror}), using stderr")
        return say
    return _Journald(most, guard, sendv, command).say


class _Journald:
    """guard  a socket of our own to journald, which says whether its queue is full"""

    def __init__(
        self, most: Level, guard: socket.socket, sendv: Callable[..., None], command: str
    ) -> None:
        self._most = most.value
        self._guard = guard
        self._poll = select.poll()
        self._poll.register(guard.fileno(), select.POLLOUT)
        self._sendv = sendv
        self._fields = ("SYSLOG_IDENTIFIER=notifywrap", f"NOTIFYWRAP_COMMAND={command}")

    def say(self, level: Level, text: str) -> None:
        """Send *text*. Never fails, and does not wait for a journald that hangs: the watchdog must
        not hang with it (sd_journal_sendv() itself would wait)."""
        if level.value > self._most:
            return
        line = text if text.isprintable() else ascii(text)
        line = line if len(line) <= LONGEST else line[:LONGEST] + "..."
        try:
            if any(event == select.POLLOUT for _, event in self._poll.poll(0)):
                self._sendv(f"MESSAGE={line}", f"PRIORITY={level.value}", *self._fields)
        except (OSError, UnicodeError):
            pass  # nobody reads, and there is nobody to tell
