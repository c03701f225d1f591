"""Which variables a unit sets, and which of them systemd takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["keep_valid", "parse_assignments"]


def parse_assignments(words: Iterable[str]) -> dict[str, str]:
    """{"A": "1"} of ["A=1"]; what is no assignment is ignored, as systemd does."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals and _is_name(name):
            found[name] = value
    return found


def keep_valid(assigned: Mapping[str, str]) -> dict[str, str]:
    """Those whose name systemd takes."""
    return {name: value for name, value in assigned.items() if _is_name(name)}


def _is_name(text: str) -> bool:
    is_plain = text.isascii() and text.replace("_", "a").isalnum()
    return is_plain and not text[0].isdigit()
