"""The only place that writes: lines on stderr, for the journal or for a person at a terminal."""

from __future__ import annotations

import select

from notifywrap.errors import NotifywrapError
from notifywrap.lean import os
from notifywrap.policy.level import Level

__all__ = ["Journal", "show"]

STDOUT, STDERR = 1, 2
LONGEST = 1000  # characters of 4 bytes at most: a pipe takes PIPE_BUF bytes at once, or nothing


class Journal:
    """Writes one line an event to stderr, with sd-daemon(3)'s <N> level prefix unless a terminal
    reads it.

    most  lines of less weight than this are left out
    """

    def __init__(self, most: Level = Level.INFO) -> None:
        self._most = most.value
        self._prefix = not os.isatty(STDERR)

    def say(self, level: Level, text: str) -> None:
        """Write *text*. Never blocks and never fails: a reader that hangs must not hang the
        watchdog with it."""
        if level.value > self._most:
            return
        line = " ".join(text.split()) if text.isprintable() else ascii(text)
        line = line if len(line) <= LONGEST else line[:LONGEST] + "..."
        line = f"<{level.value}>notifywrap: {line}\n" if self._prefix else f"notifywrap: {line}\n"
        try:
            poll = select.poll()
            poll.register(STDERR, select.POLLOUT)
            if poll.poll(0):
                os.write(STDERR, line.encode("utf-8", "backslashreplace"))
        except OSError:
            pass  # EBADF, EPIPE, EAGAIN: nobody reads, and there is nobody to tell


def show(text: str) -> None:
    """Write what was asked for to stdout. A reader that has seen enough (`| head -1`) is no error.

    Raises NotifywrapError when it cannot be written: a full disk must not look like an answer.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(STDOUT, data) :]
    except BrokenPipeError:
        pass
    except OSError as error:
        raise NotifywrapError(f"cannot write to stdout: {error.strerror}") from None
