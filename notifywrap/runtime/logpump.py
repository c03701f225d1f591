"""The target's stdout and stderr on their way to ours: passed on byte for byte and in order, and
looked at for the lines that `log:` probes wait for."""

from __future__ import annotations

import os
import select
import time

from notifywrap.errors import NotifywrapError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import Level
from notifywrap.probes import why
from notifywrap.probes.log import LineWatch
from notifywrap.runtime.loop import Part
from notifywrap.runtime.sink import PIECE, open_sink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from notifywrap.policy.events import Event
    from notifywrap.probes.target import Target
    from notifywrap.runtime.loop import Loop
    from notifywrap.runtime.sink import Sink

    Say = Callable[[Level, str], None]

__all__ = ["LogPump"]

STDOUT, STDERR = 1, 2
READ_SIZE = 65536  # what a pipe holds (pipe(7)); also the most that is kept for a slow reader
# A longer line is matched in pieces of this length: what a regular expression costs may grow with
# the square of it, and the watchdog waits meanwhile.
LONGEST_LINE = 16384
# When the target has ended: how long a reader that takes nothing is waited for, and how long any.
DRAIN_PAUSE_S, DRAIN_MOST_S = 1.0, 5.0
DRAIN_MOST = 1 << 20  # bytes; no more fits into a pipe, and who still writes is not waited for


class LogPump(Part):
    """Puts a pipe in the place of the target's stdout and stderr: one for both where they lead to
    the same, so that the order of lines is kept.

    patterns     regular expressions to look for in the lines
    env          of the target: loses JOURNAL_STREAM, as its output is no longer the journal's own
    descriptors  gets the writing ends
    """

    def __init__(
        self,
        patterns: Sequence[str],
        env: dict[str, str],
        descriptors: dict[int, int],
        say: Say,
    ) -> None:
        self._ours: list[int] = []
        self._streams: list[Stream] = []
        self._watches: dict[str, LineWatch] = {}
        try:
            self._watches = {pattern: LineWatch(pattern) for pattern in patterns}
            for numbers in _outputs():
                reading, writing = os.pipe2(os.O_CLOEXEC)
                self._ours.append(writing)
                os.set_blocking(reading, False)  # of this end only: the target's stays as usual
                self._streams.append(Stream(reading, open_sink(numbers[0]), self, say))
                descriptors.update(dict.fromkeys(numbers, writing))
        except OSError as error:
            self.close()
            raise NotifywrapError(f"cannot read the target's log: {why(error)}") from None
        env.pop("JOURNAL_STREAM", None)

    def attach(
        self,
        loop: Loop,
        put: Callable[[Event], None],  # noqa: ARG002
        target: Target,
    ) -> None:
        self._close_ours()  # or there would be no end of file when the target closes it
        target.lines.update(self._watches)
        for stream in self._streams:
            stream.attach(loop)
        self.note_end()

    def drain(self) -> None:
        deadline = time.monotonic() + DRAIN_MOST_S
        for stream in self._streams:
            stream.drain(deadline)

    def close(self) -> None:
        self._close_ours()
        for stream in self._streams:
            stream.close()
        for watch in self._watches.values():
            watch.close()

    @property
    def is_looking(self) -> bool:
        """Is there a line that somebody still waits for?"""
        return not all(watch.came for watch in self._watches.values())

    def look(self, line: bytes) -> None:
        """The target has written this line."""
        text = line.removesuffix(b"\r").decode("utf-8", "replace")
        for watch in self._watches.values():
            watch.look(text)

    def note_end(self) -> None:
        """Tell those who wait when no line can come any more."""
        if all(stream.is_over for stream in self._streams):
            for watch in self._watches.values():
                watch.end()

    def _close_ours(self) -> None:
        while self._ours:
            os.close(self._ours.pop())


def _outputs() -> list[tuple[int, ...]]:
    """stdout and stderr, together where they are the same file; without one that was closed."""
    # What is close-on-exec was closed before we put something there: the target has it closed too.
    open_ones = [fd for fd in (STDOUT, STDERR) if os.get_inheritable(fd)]
    if len(open_ones) == 2 and os.path.sameopenfile(*open_ones):
        return [(STDOUT, STDERR)]
    return [(fd,) for fd in open_ones]


class Stream:
    """One pipe and where it leads to. Read only when all that was read before is written: a target
    that writes faster than its reader reads is held up, as it would be without us.

    source  the reading end
    """

    def __init__(self, source: int, sink: Sink, pump: LogPump, say: Say) -> None:
        self._source = source
        self._sink = sink
        self._pump = pump
        self._say = say
        self._loop: Loop | None = None
        self._pending = b""
        self._at = 0  # so much of it is written
        self._line = b""  # the beginning of a line that is not complete
        self._has_lost = False
        self._watched = -1

    @property
    def is_over(self) -> bool:
        """Has the target closed it, or was it closed on the target?"""
        return self._source < 0

    def attach(self, loop: Loop) -> None:
        """Pass on what comes, from now on."""
        self._loop = loop
        self._watch()

    def drain(self, deadline: float) -> None:
        """Pass on what is there, waiting for the reader if he is slow."""
        taken = 0
        while time.monotonic() < deadline:
            if self._pending:
                poll = select.poll()
                poll.register(self._sink.fd, select.POLLOUT)
                if not poll.poll(DRAIN_PAUSE_S * 1000):
                    break
                self._write()
            elif self.is_over or taken >= DRAIN_MOST or not (count := self._read()):
                break
            else:
                taken += count
        self._watch()

    def close(self) -> None:
        """Give up what is left. May be called again."""
        if self._pending:
            self._lose("nobody reads it")
        self._end()
        self._sink.close()

    # --- on the way -------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Wait for room while something is to be written, else for something to read."""
        fd = self._sink.fd if self._pending else self._source
        if self._loop is not None and fd != self._watched:
            self._loop.forget(self._watched)
            self._watched = fd
            if fd >= 0:
                wants = select.POLLOUT if self._pending else select.POLLIN
                self._loop.watch(fd, wants, self._go_on)

    def _go_on(self) -> None:
        if self._pending:
            self._write()
        else:
            self._read()
        self._watch()

    def _read(self) -> int:
        """Read once and pass it on; how much that was."""
        try:
            data = os.read(self._source, READ_SIZE)
        except BlockingIOError:
            return 0
        if not data:
            self._end()
            return 0
        self._pending = data
        self._write()
        if self._pump.is_looking:
            self._look(data)
        return len(data)

    def _write(self) -> None:
        """Write as much as there is room for, whole lines where they are shorter than a piece: our
        own lines go to the same journal."""
        data = self._pending
        while self._at < len(data):
            end = self._at + PIECE
            if end < len(data):
                end = data.rfind(b"\n", self._at, end) + 1 or end
            try:
                self._at += self._sink.write(data[self._at : end])
            except BlockingIOError:
                return
            except ConnectionError:  # EPIPE: the target is to find the same when it writes again
                self._at = len(data)
                self._end()
            except OSError as error:  # ENOSPC, EIO: a full disk is no reason to stop the target
                self._lose(why(error))
                return
        self._pending = b""
        self._at = 0

    def _lose(self, reason: str) -> None:
        if not self._has_lost:
            lost = len(self._pending) - self._at
            text = f"cannot pass on the target's log: {reason}: {lost} bytes are lost"
            self._say(Level.WARNING, text)
        self._has_lost = True
        self._pending = b""
        self._at = 0

    def _look(self, data: bytes) -> None:
        *lines, rest = (self._line + data).split(b"\n")
        for line in lines:
            for at in range(0, len(line), LONGEST_LINE):
                self._pump.look(line[at : at + LONGEST_LINE])
        while len(rest) > LONGEST_LINE:
            self._pump.look(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._line = rest

    def _end(self) -> None:
        """Close the reading end."""
        if self._source < 0:
            return
        if self._watched == self._source and self._loop is not None:
            self._loop.forget(self._source)
            self._watched = -1
        os.close(self._source)
        self._source = -1
        if self._line:
            self._pump.look(self._line)
        self._pump.note_end()
