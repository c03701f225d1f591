"""Time spans as systemd.time(7) writes them: "500ms", "1min 30s", "2h"; a bare number is
seconds."""

from __future__ import annotations

from notifywrap.errors import SpecError

__all__ = ["format_duration", "parse_duration"]

# systemd.time(7), "Parsing time spans".
_UNITS = {
    **dict.fromkeys(("usec", "us", "µs", "μs"), 1e-6),
    **dict.fromkeys(("msec", "ms"), 1e-3),
    **dict.fromkeys(("", "seconds", "second", "sec", "s"), 1.0),
    **dict.fromkeys(("minutes", "minute", "min", "m"), 60.0),
    **dict.fromkeys(("hours", "hour", "hr", "h"), 3600.0),
    **dict.fromkeys(("days", "day", "d"), 86400.0),
    **dict.fromkeys(("weeks", "week", "w"), 604800.0),
    **dict.fromkeys(("months", "month", "M"), 2629800.0),
    **dict.fromkeys(("years", "year", "y"), 31557600.0),
}
LONGEST_S = 2.0**64 / 1e6  # systemd counts microseconds in 64 bits


def parse_duration(text: str, option: str, *, may_be_zero: bool = False) -> float:
    """The time span *text* in seconds, more than 0 (or 0, where that means "not at all"). Raises
    SpecError naming *option*.

    Source: systemd.time(7). "infinity" is refused: everything that notifywrap waits for must end.
    """
    total_s, rest = 0.0, text.strip()
    if not rest:
        raise _refuse(text, option)
    while rest:
        number = _leading(rest, "0123456789.")
        rest = rest[len(number) :].lstrip()
        unit = _leading(rest, None)
        rest = rest[len(unit) :].lstrip()
        if (
            not number.isascii()
            or number.count(".") > 1
            or number.endswith(".")
            or not number
            or unit not in _UNITS
        ):
            raise _refuse(text, option)
        total_s += float(number) * _UNITS[unit]
    if not 0 < total_s < LONGEST_S and not (may_be_zero and total_s == 0):
        fix = "less than 500000 years" if total_s else "more than 0"
        raise SpecError(f"{option}: {text!r} is no time to wait; it must be {fix}")
    return total_s


def _leading(text: str, wanted: str | None) -> str:
    """The characters that *text* begins with: those in *wanted*, or letters when it is None."""
    end = 0
    while end < len(text) and (text[end] in wanted if wanted else text[end].isalpha()):
        end += 1
    return text[:end]


def _refuse(text: str, option: str) -> SpecError:
    return SpecError(
        f"{option}: {text!r} is not a time span (write for example 500ms, 2s or 1min 30s)"
    )


def format_duration(length_s: float) -> str:
    """*length_s* for people: "0.143 s", "2.5 s", "12 s", "3 min 20 s"."""
    if length_s >= 60:
        minutes, seconds = divmod(round(length_s), 60)
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    if length_s >= 10:
        return f"{length_s:.0f} s"
    digits = 3 if length_s < 1 else 1
    short = f"{length_s:.{digits}f}".rstrip("0").rstrip(".")
    return f"{short or 0} s"
