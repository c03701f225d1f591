"""The head of an HTTP/1.x response, its body if wanted, and where that ends.

Bytes in, facts out, no I/O (RFC 9112).
"""

from __future__ import annotations

__all__ = ["HttpError", "ResponseReader", "show_bytes"]

_MOST_HEAD = 16384
_MOST_CONTINUES = 8  # 1xx responses before the real one
_MOST_DIGITS = 18
_SHOWN = 40


class HttpError(Exception):
    """There is no answer, or it is not HTTP, or not within its bounds; the text says which."""


class ResponseReader:
    """Fed with what the server sends, in pieces of any size.

    status    the final status code once the head is complete, else 0
    is_done   the whole response, body included, has been seen
    received  bytes fed so far
    body      the body so far, without the framing of chunks; None when it is not kept
    """

    def __init__(self, keep_body: bool = False) -> None:
        self.body: bytes | None = b"" if keep_body else None
        self.status = 0
        self.is_done = False
        self.received = 0
        self._buffer = b""
        self._continues = 0
        self._left: int | None = None  # body bytes still to come; None: until the server closes
        self._is_chunked = False
        self._in_trailer = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        B"" says that the server closed. Raises HttpError, from the first byte that is wrong.
        """
        self.received += len(data)
        if not data:
            self._end()
            return
        self._buffer += data
        while not self.status and self._take_head():
            pass
        if self.status:
            self._take_body()

    @property
    def progress(self) -> str:
        """How far the answer got, for a reason."""
        if self.received == 0:
            return "no answer"
        if self.status:
            return f"no complete body after {self.received} bytes"
        if b"\n" not in self._buffer and not self._continues:
            return f"no complete status line after {self.received} bytes"
        return f"no complete head after {self.received} bytes"

    def _end(self) -> None:
        if not self.status:
            if not self.received:
                raise HttpError("closed without an answer")
            raise HttpError(f"closed in the middle of the head, after {self.received} bytes")
        self.is_done = True

    def _take_head(self) -> bool:
        """Whether a 1xx head was taken and another head may follow in the buffer."""
        _refuse_garbage(self._buffer)
        end = _head_end(self._buffer)
        if end < 0:
            if len(self._buffer) > _MOST_HEAD:
                raise HttpError(f"the head is longer than {_MOST_HEAD} bytes")
            return False
        if end > _MOST_HEAD:
            raise HttpError(f"the head is longer than {_MOST_HEAD} bytes")
        lines = self._buffer[:end].replace(b"\r\n", b"\n").split(b"\n")
        self._buffer = self._buffer[end:]
        status = _parse_status(lines[0])
        if 100 <= status < 200 and status != 101:
            self._continues += 1
            if self._continues > _MOST_CONTINUES:
                raise HttpError(f"more than {_MOST_CONTINUES} responses of the 1xx kind")
            return True
        self.status = status
        self._frame_body(lines[1:])
        return False

    def _frame_body(self, lines: list[bytes]) -> None:
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (ln.partition(b":") for ln in lines)
        }
        if self.status in (101, 204, 304):
            self._left = 0
        elif b"chunked" in headers.get(b"transfer-encoding", b"").lower():
            self._is_chunked, self._left = True, 0
        else:
            self._left = _number(headers.get(b"content-length", b""), 10)

    def _take_body(self) -> None:
        if self._left is None:
            self._keep(self._buffer)
            self._buffer = b""
            return
        while self._skip() and self._is_chunked and not self.is_done:
            if not self._next_chunk():
                return
        if not self._left and not self._is_chunked:
            self.is_done = True
        if self.is_done:
            self._buffer = b""

    def _skip(self) -> bool:
        """Drop body bytes; whether the piece that was announced is complete."""
        assert self._left is not None
        taken = min(self._left, len(self._buffer))
        self._keep(self._buffer[:taken])
        self._buffer = self._buffer[taken:]
        self._left -= taken
        return self._left == 0

    def _keep(self, data: bytes) -> None:
        if self.body is not None:
            self.body += data

    def _next_chunk(self) -> bool:
        """Take one line between chunks: a size, the empty line behind a chunk, or the trailer."""
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            if len(line) > _MOST_HEAD:
                self._give_up_framing()
            return False
        self._buffer, line = rest, line.strip()
        if self._in_trailer:
            self.is_done = not line
        elif line:
            size = _number(line.partition(b";")[0].strip(), 16)
            if size is None:
                self._give_up_framing()
                return False
            self._left, self._in_trailer = size, size == 0
        return True

    def _give_up_framing(self) -> None:
        """The status stands whatever the body looks like: read on until the server closes."""
        self._is_chunked, self._left, self._buffer = False, None, b""


def _refuse_garbage(start: bytes) -> None:
    """Tell at once, not at the timeout, that this is no HTTP/1.x.

    A banner may come without a newline.
    """
    wanted = b"HTTP/1."
    if not start.startswith(wanted[: len(start)]):
        if start[:2] == b"\x15\x03":  # a TLS alert: that our request is not TLS
            raise HttpError("the server speaks TLS (write https://)")
        raise HttpError(f"not HTTP: {show_bytes(start)}")


def _head_end(data: bytes) -> int:
    """The length of the head with its empty line; -1 when that is not there yet."""
    ends = [at + len(mark) for mark in (b"\n\r\n", b"\n\n") if (at := data.find(mark)) >= 0]
    return min(ends, default=-1)


def _parse_status(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    code = rest.split(b" ")[0]
    if (
        len(version) != 8
        or not version[7:].isdigit()
        or len(code) != 3
        or not code.isdigit()
        or code < b"100"
    ):
        raise HttpError(f"not HTTP: {show_bytes(line)}")
    return int(code)


def _number(text: bytes, base: int) -> int | None:
    digits = b"0123456789abcdef"[:base]
    if not 0 < len(text) <= _MOST_DIGITS or text.lower().strip(digits):
        return None
    return int(text, base)


def show_bytes(data: bytes, most: int = _SHOWN) -> str:
    """The first line of *data*, quoted and shortened, fit for STATUS."""
    line = data[: most * 2].partition(b"\n")[0].rstrip(b"\r")
    text = "".join(chr(c) if 32 <= c < 127 else "." for c in line)
    return repr(text[:most] + ("..." if len(text) > most else ""))
