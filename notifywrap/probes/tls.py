"""A TLS client over a non-blocking socket, for https probes.

A certificate is verified against the system's authorities, or those of --tls-ca, and must be for
the name or address that was asked for. Except on the loopback without --tls-ca, and with
--tls-insecure: there any certificate will do (policy/probespec.py decides).
"""

from __future__ import annotations

import os
import select
import ssl
import stat

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.probes.httphead import HttpError, show_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from notifywrap.lean import socket
    from notifywrap.policy.probe import Tls

    Result = TypeVar("Result")

__all__ = ["TlsStream", "context_for"]

_READ_SIZE = 16384
# Of everything that the server sends, handshake, tickets and padding included: ten times what an
# answer with a body of 64 KiB takes.
_MOST_RECEIVED = 1 << 20
_SHOWN = 40

# OpenSSL's verify codes (x509_vfy.h), in people's words.
_NOT_YET, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_IN_CHAIN = 9, 10, 18, 19
_WRONG_NAME = (62, 64)
_NO_ISSUER = (2, 20, 21)

# What --tls-ca, --tls-cert and --tls-key name -> when these files were changed, and what was made
# of them: loading a system's authorities takes 40 ms and 2 MB.
_contexts: dict[tuple[bool, str, str, str], tuple[tuple[object, ...], ssl.SSLContext]] = {}


class _Ended(Exception):
    """The server has ended the connection."""


class TlsStream:
    """send() and recv() as a non-blocking socket has them, over TLS.

    They raise BlockingIOError while *wants* (select.POLLIN or POLLOUT) is awaited, and HttpError
    with the reason when there is nothing to be had.

    is_open  the handshake is over
    """

    def __init__(self, connection: socket.socket, tls: Tls) -> None:
        self.wants: int = select.POLLOUT
        self.is_open = False
        self._connection = connection
        self._tls = tls
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = b""
        self._received = 0
        self._first = b""  # what the server said first: whether that is TLS at all
        # Bytes: for a str Python imports its IDNA codec, and with it 1.4 MB.
        name = (tls.name or tls.address).encode("ascii", "replace")
        context = context_for(tls)
        try:
            self._stream = context.wrap_bio(
                self._incoming, self._outgoing, server_hostname=name or None
            )
        except (ValueError, ssl.SSLError):  # a dot in front, or longer than 255 bytes
            raise HttpError(f"TLS: {tls.name[:_SHOWN]!r} cannot be a server's name") from None

    def send(self, data: bytes) -> int:
        """How much of *data* was taken."""
        self._shake_hands()
        try:
            return self._do(lambda: self._stream.write(data))
        except _Ended:
            raise HttpError("closed without an answer") from None

    def recv(self, size: int) -> bytes:
        """B"" says that the server ended the connection."""
        self._shake_hands()
        try:
            return self._do(lambda: self._stream.read(size))
        except _Ended:
            return b""  # the head says whether that is too early

    def end(self) -> None:
        """Say goodbye (close_notify), as far as that is possible without waiting."""
        try:
            if self.is_open:
                self._stream.unwrap()
        except (OSError, ValueError):
            pass  # SSLWantReadError: ours is written, the server's is not awaited
        try:
            self._flush()
        except OSError:
            pass  # the server was faster, or takes nothing

    def _shake_hands(self) -> None:
        if self.is_open:
            return
        try:
            self._do(self._stream.do_handshake)
        except _Ended:
            raise HttpError("closed during the TLS handshake") from None
        self.is_open = True

    def _do(self, operation: Callable[[], Result]) -> Result:
        """The result of *operation*, moving bytes between OpenSSL and the socket as it needs."""
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                raise _Ended from None  # with a close_notify, or without
            except ssl.SSLError as error:
                self._say_why()
                raise HttpError(self._explain(error)) from None
            try:
                self._flush()
            except BlockingIOError:
                pass  # OpenSSL has taken it: what is left goes out before the next read
            return result

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            self.wants = select.POLLOUT
            try:
                self._unsent = self._unsent[self._connection.send(self._unsent) :]
            except (BrokenPipeError, ConnectionResetError):
                self._unsent = b""  # why it has hung up may still stand in what it said last
        self.wants = select.POLLIN

    def _fill(self) -> None:
        data = self._connection.recv(_READ_SIZE)
        self._received += len(data)
        if self._received > _MOST_RECEIVED:
            raise HttpError(f"more than {_MOST_RECEIVED} bytes for one answer")
        self._first = self._first or data
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _say_why(self) -> None:
        """Let the server know: OpenSSL has an alert ready."""
        try:
            self._flush()
        except OSError:
            pass  # it does not want to know

    def _explain(self, error: ssl.SSLError) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return _explain_certificate(error, self._tls)
        if not self.is_open and self._first[:5] == b"HTTP/":
            return "the server does not speak TLS (write http://)"
        if not self.is_open and not b"\x14" <= self._first[:1] <= b"\x17":
            return f"the server does not speak TLS: {show_bytes(self._first)}"
        # "TLSV1_ALERT_UNKNOWN_CA", "TLSV1_UNRECOGNIZED_NAME": an alert, that is, the server's word
        reason = error.reason or "UNKNOWN_ERROR"
        version, _, words = reason.partition("_")
        words = words.removeprefix("ALERT_").lower().replace("_", " ")
        if words == "certificate required":
            return "the server wants a certificate from us (--tls-cert FILE)"
        if version in ("SSLV3", "TLSV1", "TLSV13"):
            return f"the server refuses TLS: {words}"
        return f"TLS: {reason.lower().replace('_', ' ')}"


def context_for(tls: Tls) -> ssl.SSLContext:
    """The SSLContext for *tls*, made once and again only when one of its files was replaced.

    Raises SpecError naming the option when a file cannot be used.
    """
    key = (tls.verify, tls.ca, tls.cert, tls.key)
    files = {"--tls-ca": tls.ca, "--tls-cert": tls.cert, "--tls-key": tls.key}
    # A certificate that is renewed every day must not make the target look sick the day after.
    stamp = tuple(_stamp(option, path) for option, path in files.items() if path)
    known = _contexts.get(key)
    if known is None or known[0] != stamp:
        _contexts[key] = known = stamp, _make_context(tls)
    return known[1]


def _stamp(option: str, path: str) -> tuple[int, int, int]:
    try:
        if not os.access(path, os.R_OK):
            open(path, "rb").close()  # for the reason
        found = os.stat(path)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise SpecError(f"{option}: cannot read {path!r}: {why}") from None
    if not stat.S_ISREG(found.st_mode):  # OpenSSL would wait for a FIFO's writer
        raise SpecError(f"{option}: {path!r} is not a regular file")
    return found.st_mtime_ns, found.st_ino, found.st_size


def _make_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca:
        try:
            context.load_verify_locations(tls.ca)
        except OSError:
            raise SpecError(
                f"--tls-ca: {tls.ca!r} holds no certificates (PEM: -----BEGIN CERTIFICATE-----)"
            ) from None
        # An intermediate authority, or the server's own certificate, will do as well as a root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:
        context.load_default_certs()
    if tls.cert:
        _load_own(context, tls)
    return context


def _load_own(context: ssl.SSLContext, tls: Tls) -> None:
    def no_password() -> bytes:
        # Without this OpenSSL would ask for one on the terminal, and wait.
        raise SpecError(f"--tls-key: {tls.key or tls.cert!r} is encrypted (store it decrypted)")

    try:
        context.load_cert_chain(tls.cert, tls.key or None, no_password)
    except OSError as error:
        if "MISMATCH" in (getattr(error, "reason", "") or ""):
            raise SpecError(f"--tls-key: is not the key of --tls-cert {tls.cert!r}") from None
        files = f"{tls.cert!r} and {tls.key!r}" if tls.key else repr(tls.cert)
        raise SpecError(
            f"--tls-cert: no certificate with its key in {files}"
            " (PEM: -----BEGIN CERTIFICATE-----, -----BEGIN PRIVATE KEY-----)"
        ) from None


def _explain_certificate(error: ssl.SSLCertVerificationError, tls: Tls) -> str:
    fix = "--tls-ca FILE or --tls-insecure"
    code = error.verify_code
    if code == _EXPIRED:
        return "the server's certificate has expired"
    if code == _NOT_YET:
        return "the server's certificate is not valid yet"
    if code in _WRONG_NAME:
        return f"the server's certificate is not for {tls.name or tls.address}"
    if code == _SELF_SIGNED:
        return f"the server's certificate is self-signed ({fix})"
    if code == _SELF_SIGNED_IN_CHAIN or code in _NO_ISSUER:
        return f"the server's certificate is from an unknown authority ({fix})"
    return f"the server's certificate: {error.verify_message}"
