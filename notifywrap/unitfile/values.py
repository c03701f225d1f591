"""Single values: booleans, time spans and sizes, as systemd takes them."""

from __future__ import annotations

import math
import re

from notifywrap.errors import SpecError
from notifywrap.policy.duration import parse_duration

__all__ = ["parse_boolean", "parse_number", "parse_span"]

_TRUE = ("1", "yes", "y", "true", "t", "on")
_FALSE = ("0", "no", "n", "false", "f", "off")
# Possessive: otherwise each zero more would double the time for what does not match.
_ZERO = re.compile(r"(?:0++(?:\.0++)?+\s*+[a-zµμM]*+\s*+)++")


def parse_boolean(text: str) -> bool | None:
    """True or false; None when systemd does not take *text* for either."""
    word = text.lower()
    return True if word in _TRUE else False if word in _FALSE else None


def parse_span(text: str) -> float | None:
    """Seconds; math.inf for "infinity"; None when it is no time span (systemd.time(7))."""
    if text == "infinity":
        return math.inf
    if _ZERO.fullmatch(text):
        return 0.0
    try:
        return parse_duration(text, "")
    except SpecError:
        return None


def parse_number(text: str) -> int | None:
    """A limit such as LimitNPROC=: the soft one of "soft:hard"; None for infinity or no number."""
    soft = text.partition(":")[0]
    return int(soft) if soft.isascii() and soft.isdigit() and len(soft) < 20 else None
