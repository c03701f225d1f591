"""What the values of the options mean: signals, counts, switches, paths. Every mistake is one
SpecError that names the option."""

from __future__ import annotations

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING, signal
from notifywrap.runtime.signals import CAUGHT, NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "parse_count",
    "parse_path",
    "parse_reload",
    "parse_signal",
    "parse_signal_map",
]


def parse_signal(text: str, option: str) -> int:
    """The number of a signal: "TERM", "SIGTERM", "RTMIN+3" or "15". Raises SpecError naming
    *option*."""
    name = text.upper().removeprefix("SIG")
    for number, known in NAMES.items():
        if name in (known, str(number)) and number in CAUGHT:
            return int(number)
    raise SpecError(
        f"{option}: {text!r} is no signal that can be caught"
        " (write for example TERM, QUIT or RTMIN+3)"
    )


def parse_signal_map(texts: Sequence[str], option: str) -> dict[int, int]:
    """{15: 3} for ["TERM=QUIT"]; a signal that is mapped to 0 is swallowed.

    Raises SpecError, also for a second word on the same signal: one of the two would not hold.
    """
    found: dict[int, int] = {}
    for text in texts:
        source, equals, goal = text.partition("=")
        if not equals:
            raise SpecError(f"{option}: {text!r}: write FROM=TO, for example TERM=QUIT or USR1=0")
        signum = parse_signal(source, option)
        if signum == signal.SIGHUP:
            # HUP is how systemd asks for a reload; the option for it says what the target gets.
            raise SpecError(f"{option}: {text!r}: HUP means reload; use --reload SIGNAL for it")
        if signum == signal.SIGCHLD:
            raise SpecError(f"{option}: {text!r}: CHLD is about our own children")
        if signum in found:
            raise SpecError(f"{option}: {source} given twice")
        found[signum] = 0 if goal == "0" else parse_signal(goal, option)
    return found


def parse_reload(text: str, option: str) -> tuple[int, tuple[str, ...]]:
    """(signal, command) of SIGNAL, 0 (nothing is sent) or exec:CMD; without one it is ()."""
    if not text.startswith("exec:"):
        return 0 if text == "0" else parse_signal(text, option), ()
    import shlex  # only where it is asked for: it brings `re`

    try:
        command = tuple(shlex.split(text.removeprefix("exec:")))
    except ValueError as error:
        raise SpecError(f"{option}: {text!r}: {error} (words are split as a shell would)") from None
    if not command:
        raise SpecError(f"{option}: {text!r} names no command")
    return int(signal.SIGHUP), command


def parse_count(text: str, option: str) -> int:
    """A whole number, 1 or more."""
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 9 and int(text) >= 1):
        raise SpecError(f"{option}: {text!r} is not a number of rounds (1 or more)")
    return int(text)


def parse_path(text: str, option: str) -> str:
    """An absolute path: where a service is started from is not where its unit was written."""
    if not text.startswith("/") or "\0" in text:
        raise SpecError(f"{option}: {text!r}: write an absolute path")
    return text
