"""Does a server say that it serves: one call of grpc.health.v1.Health/Check, over HTTP/2.

The extra notifywrap[grpc] brings `h2` for it: 5 MB in memory, where grpcio takes 20 MB and six
threads. The two messages are a string and a number: encoding them here spares protobuf.
Source: grpc's PROTOCOL-HTTP2.md and health-checking.md.
"""

from __future__ import annotations

import select

from notifywrap import __version__
from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes import Attempt, why
from notifywrap.probes.dial import Dial
from notifywrap.probes.httphead import show_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from h2.connection import H2Connection
    from h2.events import Event

    from notifywrap.policy.probe import GrpcProbe
    from notifywrap.probes.target import Target

__all__ = ["GrpcAttempt", "check_h2", "decode_status", "encode_request"]

_READ_SIZE = 16384
_MOST_RECEIVED = 65536  # the answer takes a few hundred bytes
_MOST_MESSAGE = 4096
_FIRST = 64  # bytes kept to see what the server speaks
_SHOWN = 60

_SERVING = 1
_STATUSES = {0: "UNKNOWN", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
# https://grpc.io/docs/guides/status-codes/
_CODES = {
    1: "CANCELLED",
    2: "UNKNOWN",
    4: "DEADLINE_EXCEEDED",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}
_NOT_FOUND, _UNIMPLEMENTED = 5, 12


def check_h2(probe: GrpcProbe) -> None:
    """Raises SpecError with what to install when `h2` is not here."""
    from importlib.util import find_spec

    if find_spec("h2") is None:
        raise SpecError(f"{probe.text}: needs the package h2 (pip install 'notifywrap[grpc]')")


class _GrpcError(Exception):
    """The server's answer settles it; the text says why."""


class GrpcAttempt(Attempt):
    """connect -> send preface and call -> read until the call's status -> GOAWAY -> hang up."""

    def __init__(self, probe: GrpcProbe, target: Target) -> None:  # noqa: ARG002
        self._probe = probe
        self._dial = Dial(probe)
        self._h2: H2Connection | None = None
        self._stream = 0
        self._unsent = b""
        self._received = 0
        self._first = b""
        self._headers: dict[str, str] = {}
        self._message = b""

    @property
    def wants(self) -> int:
        if not self._dial.connected:
            return self._dial.wants
        return select.POLLOUT if self._unsent else select.POLLIN

    def fileno(self) -> int:
        return self._dial.fileno()

    def overdue(self) -> Sample:
        if not self._dial.connected:
            return self._dial.overdue()
        progress = "no answer"
        if self._received:
            progress = f"no complete answer after {self._received} bytes"
        return Sample(Outcome.TIMED_OUT, f"{self._dial.where} {progress}")

    def close(self) -> None:
        if self._h2 is not None:
            from h2.exceptions import ProtocolError

            try:
                self._h2.close_connection()  # GOAWAY: else servers log that we have vanished
                self._unsent += self._h2.data_to_send()
                self._flush()
            except (ProtocolError, OSError):
                pass  # it is closed already, or takes nothing
        self._h2 = None
        self._dial.close()

    def _step(self) -> Sample | None:
        failure = self._dial.advance()
        if failure is not None or not self._dial.connected:
            self.wake_after_s = self._dial.wake_after_s
            return failure
        self.wake_after_s = None
        try:
            self._converse()
        except BlockingIOError:
            return None
        except _GrpcError as error:
            return Sample(Outcome.FAILED, f"{self._dial.where} {error}")
        except OSError as error:
            return Sample(Outcome.FAILED, f"{self._dial.where} {why(error)}")
        return Sample(Outcome.PASSED)

    def _converse(self) -> None:
        """Until the server has said that it serves; raises _GrpcError when it says anything
        else."""
        from h2.exceptions import ProtocolError

        if self._h2 is None:
            self._call()
        assert self._h2 is not None, "the call was made above"
        while True:
            self._flush()
            assert self._dial.socket is not None, "connected"
            data = self._dial.socket.recv(_READ_SIZE)
            self._first += data[: _FIRST - len(self._first)]
            self._received += len(data)
            self._refuse(data)
            try:
                events = self._h2.receive_data(data)
            except ProtocolError as error:
                # h2's own words, but they may quote the server's
                words = "".join(c if c.isprintable() else "." for c in str(error)[:_SHOWN])
                raise _GrpcError(f"not HTTP/2: {words}") from None
            for event in events:
                if self._is_end(event):
                    return
            self._unsent += self._h2.data_to_send()

    def _call(self) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        # Headers as bytes: h2 would raise at those that are not UTF-8.
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._h2.initiate_connection()
        self._stream = self._h2.get_next_available_stream_id()
        headers = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", self._probe.host),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", f"notifywrap/{__version__}"),
        )
        self._h2.send_headers(self._stream, headers)
        self._h2.send_data(self._stream, encode_request(self._probe.service), end_stream=True)
        self._unsent = self._h2.data_to_send()

    def _flush(self) -> None:
        assert self._dial.socket is not None, "there is nothing to send before connecting"
        while self._unsent:
            self._unsent = self._unsent[self._dial.socket.send(self._unsent) :]

    def _refuse(self, data: bytes) -> None:
        if not data:
            raise _GrpcError("closed without an answer" if not self._first else "closed too early")
        if self._received > _MOST_RECEIVED:
            raise _GrpcError(f"more than {_MOST_RECEIVED} bytes for one answer")
        if self._first[:5] == b"HTTP/":
            raise _GrpcError("the server speaks HTTP/1, not gRPC")
        if self._first[:2] == b"\x15\x03":
            raise _GrpcError("the server speaks TLS, which grpc:// does not")
        # Every HTTP/2 connection begins with a SETTINGS frame (RFC 9113 3.4): its type is byte 3.
        # Told at once: h2 would wait for all of a frame of some millions of bytes.
        if self._first[3:4] not in (b"", b"\x04"):
            raise _GrpcError(f"not HTTP/2: {show_bytes(self._first)}")

    def _is_end(self, event: Event) -> bool:
        """Whether the server has said that it serves."""
        from h2 import events

        if isinstance(event, events.ConnectionTerminated):
            raise _GrpcError(f"the server closes the connection (GOAWAY {event.error_code})")
        if getattr(event, "stream_id", None) != self._stream:
            return False
        if isinstance(event, events.ResponseReceived | events.TrailersReceived):
            self._headers.update((_text(k), _text(v)) for k, v in event.headers or ())
        elif isinstance(event, events.DataReceived):
            self._message += event.data or b""
            if len(self._message) > _MOST_MESSAGE:
                raise _GrpcError(f"an answer of more than {_MOST_MESSAGE} bytes")
        elif isinstance(event, events.StreamReset):
            raise _GrpcError(f"the server gave up the call (RST_STREAM {event.error_code})")
        elif isinstance(event, events.StreamEnded):
            _judge(self._headers, self._message, self._probe.service)
            return True
        return False


def _judge(headers: Mapping[str, str], message: bytes, service: str) -> None:
    """Raises _GrpcError unless the answer says SERVING."""
    http, text = headers.get(":status", ""), headers.get("grpc-status", "")
    if http != "200" or not text:
        raise _GrpcError(f"HTTP {_show(http)}, not gRPC")
    code = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1
    if code == _NOT_FOUND:
        raise _GrpcError(f"the server knows no service {_show(service)}")
    if code == _UNIMPLEMENTED:
        raise _GrpcError("the server has no health service (grpc.health.v1)")
    if code != 0:
        said = headers.get("grpc-message", "")
        name = _CODES.get(code, _show(text))
        raise _GrpcError(f"gRPC status {name}" + (f": {_show(said)}" if said else ""))
    status = decode_status(message)
    if status is None:
        raise _GrpcError("the answer is not one of grpc.health.v1")
    if status != _SERVING:
        raise _GrpcError(_STATUSES.get(status, f"serving status {status}"))


def encode_request(service: str) -> bytes:
    """HealthCheckRequest {string service = 1}, as a gRPC message: flag, length, protobuf."""
    name = service.encode("utf-8", "surrogateescape")
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def decode_status(data: bytes) -> int | None:
    """HealthCheckResponse {ServingStatus status = 1} of a gRPC message; None when it is none."""
    if len(data) < 5 or data[0] != 0 or int.from_bytes(data[1:5], "big") != len(data) - 5:
        return None
    status, at = 0, 5
    while at < len(data):
        tag, at = _read_varint(data, at)
        value, at = _read_varint(data, at)
        wire_type = tag & 7
        if at < 0 or wire_type not in (0, 2):
            return None
        if wire_type == 2:  # a field of a later version: skip it
            at += value
        elif tag >> 3 == 1:
            status = value
    return status if at == len(data) else None


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, where it ends); the latter is -1 when there is none."""
    number = 0
    for index, byte in enumerate(data[at : at + 10] if at >= 0 else b""):
        number |= (byte & 127) << (7 * index)
        if byte < 128:
            return number, at + index + 1
    return 0, -1


def _text(value: bytes | str) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _show(text: str) -> str:
    return repr(text[:_SHOWN] + ("..." if len(text) > _SHOWN else ""))
