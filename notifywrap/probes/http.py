"""Does the target answer a GET with a good status.

One request, no proxy, no redirect, no connection kept.
"""

from __future__ import annotations

import select
import time

from notifywrap import __version__
from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes import Attempt, why
from notifywrap.probes.dial import Dial
from notifywrap.probes.httphead import HttpError, ResponseReader

if TYPE_CHECKING:
    from notifywrap.lean import socket
    from notifywrap.policy.spec import HttpProbe
    from notifywrap.probes.target import Target

__all__ = ["HttpAttempt"]

_READ_SIZE = 16384
_MOST_BODY = 65536
# The head decides. The body is read so that the server is not reset in the middle of it (its log
# would show that), but a server that dawdles over its body, or streams for ever, must not hold up
# READY.
_DRAIN_S = 0.25


class HttpAttempt(Attempt):
    """connect -> send the request -> read the head, which decides -> drain the body -> hang up."""

    def __init__(self, probe: HttpProbe, target: Target) -> None:  # noqa: ARG002
        self._statuses = probe.statuses
        self._unsent = _request(probe)
        self._reader = ResponseReader()
        self._verdict: Sample | None = None
        self._drained_at = 0.0  # when draining ends at the latest
        self._dial = Dial(probe)

    @property
    def wants(self) -> int:
        if not self._dial.connected:
            return self._dial.wants
        return select.POLLOUT if self._unsent else select.POLLIN

    def fileno(self) -> int:
        return self._dial.fileno()

    def close(self) -> None:
        self._dial.close()

    def overdue(self) -> Sample:
        if self._verdict is not None:
            return self._verdict
        if not self._dial.connected:
            return self._dial.overdue()
        return Sample(Outcome.TIMED_OUT, f"{self._dial.where} {self._reader.progress}")

    def _step(self) -> Sample | None:
        failure = self._dial.advance()
        if failure is not None or not self._dial.connected:
            self.wake_after_s = self._dial.wake_after_s
            return failure
        self.wake_after_s = None
        try:
            return self._converse(self._connection())
        except HttpError as error:
            return self._verdict or Sample(Outcome.FAILED, f"{self._dial.where} {error}")
        except OSError as error:
            return self._verdict or Sample(Outcome.FAILED, f"{self._dial.where} {why(error)}")

    def _converse(self, connection: socket.socket) -> Sample | None:
        try:
            if self._unsent:
                self._unsent = self._unsent[connection.send(self._unsent) :]
            while not (self._reader.is_done or self._reader.received > _MOST_BODY):
                self._reader.feed(connection.recv(_READ_SIZE))
                if self._reader.status and self._verdict is None:
                    self._verdict = self._judge(self._reader.status)
                    self._drained_at = time.monotonic() + _DRAIN_S
        except BlockingIOError:
            if self._verdict is None:
                return None
            self.wake_after_s = self._drained_at - time.monotonic()
            return None if self.wake_after_s > 0 else self._verdict
        return self._verdict

    def _judge(self, status: int) -> Sample:
        if any(low <= status <= high for low, high in self._statuses):
            return Sample(Outcome.PASSED)
        return Sample(Outcome.FAILED, f"HTTP {status}")

    def _connection(self) -> socket.socket:
        assert self._dial.socket is not None, "a conversation needs a connection"
        return self._dial.socket


def _request(probe: HttpProbe) -> bytes:
    """Connection.

    Close, because nothing is asked twice. Accept: some servers answer 406 without.
    """
    lines = (
        f"GET {probe.target} HTTP/1.1",
        f"Host: {probe.host}",
        f"User-Agent: notifywrap/{__version__}",
        "Accept: */*",
        "Connection: close",
    )
    assert not any(c in line for line in lines for c in "\r\n"), (
        "cli/config.py lets no line break through"
    )
    return "\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape")
