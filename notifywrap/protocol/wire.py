"""The sd_notify datagram, made and strictly read. Bytes in, values out: no socket, no clock.

Whatever goes in, nothing from outside can add an assignment: systemd splits at newlines and
carriage returns, so a STATUS text with "\\nREADY=1" in it would be a READY=1. It also takes a
backslash for an escape: one at the end of a message makes it drop all of it ("Out of memory."), one
at the end of a line hides the next (tried with systemd 252: READY=1 was lost). Ours are doubled.
"""

from __future__ import annotations

from notifywrap.errors import NotifyError
from notifywrap.lean import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAX_DATAGRAM",
    "STATUS_LIMIT",
    "VALUE_LIMIT",
    "Message",
    "build",
    "clean",
    "parse",
    "usec",
]

MAX_DATAGRAM = 4096  # NOTIFY_BUFFER_MAX = PIPE_BUF; systemd drops anything longer, whole
STATUS_LIMIT = 200  # characters: one line of `systemctl status`
VALUE_LIMIT = 255  # characters: the longest value that systemd defines (FDNAME, sd_notify(3))


class Message(NamedTuple):
    """What one datagram says: its assignments in the order sent, unknown and repeated ones too."""

    assignments: tuple[tuple[str, str], ...]

    def get(self, key: str) -> str | None:
        """The value that counts for *key*: the first, as for systemd; None when there is none."""
        for name, value in self.assignments:
            if name == key:
                return value
        return None

    def has(self, key: str, value: str = "1") -> bool:
        """Whether this very assignment is there, first or not: how systemd looks for READY=1."""
        return (key, value) in self.assignments


def build(assignments: Iterable[tuple[str, str]]) -> bytes:
    """The datagram for these assignments, as libsystemd's callers write it, each value cleaned.

    Raises NotifyError for a key that is not one, and when it would be longer than systemd reads.
    """
    lines = []
    for key, value in assignments:
        if not (key.isascii() and key.isidentifier() and key == key.upper()):
            raise NotifyError(f"cannot notify systemd: {key!r} is not the name of an assignment")
        if not isinstance(value, str):  # from callers without a type checker
            raise NotifyError(f"cannot notify systemd: {key} is text, not {type(value).__name__}")
        text = clean(value, STATUS_LIMIT if key == "STATUS" else VALUE_LIMIT)
        lines.append(f"{key}=" + text.replace("\\", "\\\\"))
    datagram = "\n".join(lines).encode()
    if len(datagram) > MAX_DATAGRAM:
        raise NotifyError(
            f"cannot notify systemd: {len(datagram)} bytes, and it reads {MAX_DATAGRAM} at most"
        )
    return datagram


def clean(text: str, limit: int = STATUS_LIMIT) -> str:
    """*text* as one printable line of valid UTF-8, at most *limit* characters, "…" when cut.

    Control characters (line breaks, escape sequences, text direction) become spaces, and what is
    not UTF-8 becomes U+FFFD.
    """
    head = text[: 4 * limit]  # bounds the work when somebody's answer is a megabyte
    if not head.isprintable():
        head = "".join(map(_printable, head))
    line = " ".join(head.split())
    if len(line) > limit or len(head) < len(text):
        line = line[: max(limit - 1, 0)].rstrip() + "…"[:limit]
    return line


def parse(datagram: bytes) -> Message:
    """What systemd would understand of *datagram*, by its own rules.

    A STATUS that is not valid UTF-8 is "": systemd warns, ignores it and clears the text it had.
    Raises NotifyError, with the reason, for a message that systemd drops whole.
    Source: manager_dispatch_notify_fd() and service_notify_message() of systemd 252 to 257.
    """
    if len(datagram) > MAX_DATAGRAM:
        raise NotifyError(f"message dropped: longer than {MAX_DATAGRAM} bytes")
    if b"\0" in datagram[:-1]:
        raise NotifyError("message dropped: it contains a NUL byte")
    assignments = []
    for line in _lines(datagram.removesuffix(b"\0")):
        key, equals, value = line.partition(b"=")
        if equals:
            assignments.append((key.decode(errors="replace"), _decoded(key, value)))
    return Message(tuple(assignments))


def usec(seconds: float) -> str:
    """A length, or a moment on CLOCK_MONOTONIC, as the protocol writes it: whole microseconds."""
    return str(int(seconds * 1_000_000))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return "\N{REPLACEMENT CHARACTER}" if "\ud800" <= character <= "\udfff" else " "


def _lines(text: bytes) -> list[bytes]:
    """*text* as extract_first_word() splits it: at \\n and \\r; a backslash keeps the next byte."""
    if b"\\" not in text:
        return text.replace(b"\r", b"\n").split(b"\n")
    lines = [bytearray()]
    escaped = False
    for byte in text:
        if escaped or byte not in b"\n\r\\":
            lines[-1].append(byte)
            escaped = False
        elif byte == ord("\\"):
            escaped = True
        else:
            lines.append(bytearray())
    if escaped:
        raise NotifyError("message dropped: it ends with a backslash")
    return [bytes(line) for line in lines]


def _decoded(key: bytes, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "" if key == b"STATUS" else value.decode(errors="replace")
