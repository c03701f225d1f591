"""Does the target answer a GET with a good status, and with the body that was asked for.

One request, no proxy, no redirect, no connection kept.
"""

from __future__ import annotations

import select
import time

from notifywrap import __version__
from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes import Attempt, why
from notifywrap.probes.dial import Dial, is_unheard
from notifywrap.probes.httphead import HttpError, ResponseReader, show_bytes

if TYPE_CHECKING:
    from notifywrap.lean import socket
    from notifywrap.policy.probe import HttpProbe
    from notifywrap.probes.target import Target
    from notifywrap.probes.tls import TlsStream

__all__ = ["HttpAttempt"]

_READ_SIZE = 16384
_MOST_BODY = 65536
# The head decides. The body is read so that the server is not reset in the middle of it (its log
# would show that), but a server that dawdles over its body, or streams for ever, must not hold up
# READY. Where the body decides, it is waited for.
_DRAIN_S = 0.25
_SHOWN_REGEX = 40
_SHOWN_BODY = 20  # enough to recognize a page by, too little for a secret in it


class HttpAttempt(Attempt):
    """connect -> send the request -> read the head, which decides -> drain the body -> hang up.

    With a regular expression for the body, that decides after a good head. https puts a TlsStream
    between the connection and all of this.
    """

    def __init__(self, probe: HttpProbe, target: Target) -> None:
        self._probe = probe
        self._target = target
        self._unsent = _request(probe)
        self._reader = ResponseReader(keep_body=bool(probe.body))
        self._verdict: Sample | None = None
        self._drained_at = 0.0  # when draining ends at the latest
        self._tls: TlsStream | None = None
        self._dial = Dial(probe)

    @property
    def wants(self) -> int:
        if not self._dial.connected:
            return self._dial.wants
        if self._tls is not None:
            return self._tls.wants
        return select.POLLOUT if self._unsent else select.POLLIN

    def fileno(self) -> int:
        return self._dial.fileno()

    def close(self) -> None:
        if self._tls is not None:
            self._tls.end()
        self._tls = None
        self._dial.close()

    def is_still_unheard(self) -> bool:
        return is_unheard(self._probe, self._target)

    def overdue(self) -> Sample:
        if self._verdict is not None:
            return self._verdict
        if not self._dial.connected:
            return self._dial.overdue()
        if self._reader.status:
            # A stream of events never ends: what is here by now is the body.
            found = self._judge_body()
            if found.outcome is Outcome.PASSED:
                return found
        progress = self._reader.progress
        if self._tls is not None and not self._tls.is_open:
            progress = "the TLS handshake does not end"
        return Sample(Outcome.TIMED_OUT, f"{self._dial.where} {progress}")

    def _step(self) -> Sample | None:
        failure = self._dial.advance()
        if failure is not None or not self._dial.connected:
            self.wake_after_s = self._dial.wake_after_s
            return failure
        self.wake_after_s = None
        try:
            return self._converse(self._stream())
        except HttpError as error:
            return self._verdict or Sample(Outcome.FAILED, f"{self._dial.where} {error}")
        except OSError as error:
            return self._verdict or Sample(Outcome.FAILED, f"{self._dial.where} {why(error)}")
        except SpecError as error:
            # A certificate of ours that was good at the start is gone: the target is not to blame.
            return Sample(Outcome.BROKEN, str(error))

    def _converse(self, stream: socket.socket | TlsStream) -> Sample | None:
        reader = self._reader
        try:
            if self._unsent:
                self._unsent = self._unsent[stream.send(self._unsent) :]
            while not (reader.is_done or reader.received > _MOST_BODY):
                reader.feed(stream.recv(_READ_SIZE))
                if reader.status and self._verdict is None:
                    self._verdict = self._judge_head(reader.status)
                    self._drained_at = time.monotonic() + _DRAIN_S
        except BlockingIOError:
            if self._verdict is None:
                return None
            self.wake_after_s = self._drained_at - time.monotonic()
            return None if self.wake_after_s > 0 else self._verdict
        return self._verdict or self._judge_body()

    def _judge_head(self, status: int) -> Sample | None:
        """None: the body decides."""
        if any(low <= status <= high for low, high in self._probe.statuses):
            return None if self._probe.body else Sample(Outcome.PASSED)
        # How most servers answer plain HTTP where they expect TLS
        is_plain = status == 400 and self._probe.tls is None and not self._probe.path
        return Sample(
            Outcome.FAILED, f"HTTP {status}" + (" (does it want https://?)" if is_plain else "")
        )

    def _judge_body(self) -> Sample:
        import re  # only where a body is looked into: 1 MB

        body = self._reader.body or b""
        if re.search(self._probe.body, body[:_MOST_BODY].decode("utf-8", "replace")):
            return Sample(Outcome.PASSED)
        wanted = self._probe.body[:_SHOWN_REGEX] + "..." * (len(self._probe.body) > _SHOWN_REGEX)
        found = show_bytes(body, _SHOWN_BODY) if body else "empty"
        return Sample(
            Outcome.FAILED,
            f"HTTP {self._reader.status}, but no {wanted!r} in the body ({found})",
        )

    def _stream(self) -> socket.socket | TlsStream:
        assert self._dial.socket is not None, "a conversation needs a connection"
        if self._probe.tls is None:
            return self._dial.socket
        if self._tls is None:
            try:
                from notifywrap.probes.tls import TlsStream  # `ssl`: 6 MB, for https alone
            except ImportError:
                raise SpecError("https: this Python comes without its ssl module") from None
            self._tls = TlsStream(self._dial.socket, self._probe.tls)
        return self._tls


def _request(probe: HttpProbe) -> bytes:
    # Connection: close, because nothing is asked twice. Accept: some servers answer 406 without.
    fields = [
        ("Host", probe.host),
        ("User-Agent", f"notifywrap/{__version__}"),
        ("Accept", "*/*"),
        ("Connection", "close"),
    ]
    if probe.headers:
        set_by_user = [name.lower() for name, _ in probe.headers]
        fields = [field for field in fields if field[0].lower() not in set_by_user]
        # Host first: RFC 9112 3.2 asks for it.
        fields = sorted((*probe.headers, *fields), key=lambda field: field[0].lower() != "host")
    lines = [f"GET {probe.target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    request = "\r\n".join((*lines, "", ""))
    assert request.count("\n") == request.count("\r") == len(lines) + 1, (
        "policy/ lets no line break through"
    )
    return request.encode("utf-8", "surrogateescape")
