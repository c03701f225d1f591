"""The PROBE texts that are about the target itself: `log:REGEX`, `fd:N`, `rss:SIZE`,
`fds:PERCENT`."""

from __future__ import annotations

from notifywrap.errors import SpecError
from notifywrap.policy.probe import FdProbe, FdsProbe, LogProbe, Probe, RssProbe

__all__ = ["format_size", "parse_of_target"]

_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_STANDARD_STREAMS = 2  # the highest of 0, 1, 2


def parse_of_target(text: str, rest: str, option: str) -> Probe:
    """The probe that *text* describes, *rest* being what follows its colon. Raises SpecError naming
    *option*."""
    if text.startswith("log:"):
        return _parse_log(text, rest, option)
    if text.startswith("fd:"):
        return _parse_fd(text, rest, option)
    if text.startswith("rss:"):
        return RssProbe(text, _parse_size(text, rest, option))
    return FdsProbe(text, _parse_percent(text, rest, option))


def _parse_log(text: str, rest: str, option: str) -> Probe:
    import re  # only for log probes: 1.4 MB

    try:
        re.compile(rest)
    except (re.error, RecursionError, OverflowError) as error:
        raise SpecError(f"{option}: {text!r} is no regular expression: {error}") from None
    return LogProbe(text, rest)


def _parse_fd(text: str, rest: str, option: str) -> Probe:
    if not _is_number(rest):
        raise SpecError(f"{option}: {text!r}: write the number of a descriptor, for example fd:3")
    if int(rest) <= _STANDARD_STREAMS:
        raise SpecError(
            f"{option}: {text!r}: 0 to 2 are stdin, stdout and stderr"
            " (write fd:3 or more, or log:REGEX for what is printed)"
        )
    return FdProbe(text, int(rest))


def _parse_size(text: str, rest: str, option: str) -> int:
    number, unit = (rest[:-1], rest[-1]) if rest[-1] in _UNITS else (rest, "")
    size = int(float(number) * _UNITS[unit]) if _is_decimal(number) else 0
    if size <= 0:
        raise SpecError(f"{option}: {text!r}: write bytes, or K, M, G or T, for example rss:512M")
    return size


def _parse_percent(text: str, rest: str, option: str) -> float:
    number = rest.removesuffix("%")
    percent = float(number) if _is_decimal(number) else 0.0
    if not 0 < percent <= 100:
        raise SpecError(f"{option}: {text!r}: write a percentage up to 100, for example fds:80%")
    return percent


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _is_decimal(text: str) -> bool:
    """Digits, with a fraction perhaps: float() also takes signs, exponents and "nan"."""
    whole, dot, fraction = text.partition(".")
    digits = whole + fraction
    return digits.isascii() and digits.isdigit() and len(digits) <= 18 and bool(fraction or not dot)


def format_size(size: int) -> str:
    """ "612.3M" for so many bytes; "512M" where nothing is left over."""
    for unit in "TGMK":
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.1f}".removesuffix(".0") + unit
    return f"{size}B"
