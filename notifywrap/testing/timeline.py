"""What the stand-in manager has to tell: its events, and the words for how a process ended."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from notifywrap.protocol.wire import Message

__all__ = ["Event", "ManagerError", "Received", "describe_end", "signal_name"]


class ManagerError(Exception):
    """What was waited for did not happen, or cannot any more; the text has the timeline so far."""


class Event(NamedTuple):
    """A line of the timeline.

    at_s  seconds since the command was started
    what  started, notification, signal or exit, or what `states.Note` has
    pid   who: the process started, the sender of a notification, the process that exited
    message  what a notification says
    """

    at_s: float
    what: str
    text: str
    pid: int = 0
    message: Message | None = None


class Received(NamedTuple):
    """A notification: when, from whom, what it says, and whether NotifyAccess= let it count."""

    at_s: float
    pid: int
    message: Message
    counted: bool


def describe_end(code: int, signum: int, dumped: bool) -> str:
    """How a process ended, in words."""
    if signum:
        return f"killed by {signal_name(signum)}" + (" (core dumped)" if dumped else "")
    return f"exit status {code}"


def signal_name(signum: int) -> str:
    """SIGTERM for 15."""
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"  # most of the real-time ones have no name
