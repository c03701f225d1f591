"""How far it is, on stderr: a bar that is drawn anew at a terminal, else a line a round."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Progress", "format_bar", "shorten"]

_NAMED = 4
_WIDTH = 24  # characters of the bar


def format_bar(done: int, of: int, left_s: float, exposure: float | None) -> str:
    """ "[######------] round 6 of about 12, 14 s left, exposure 3.2"."""
    filled = _WIDTH * min(done, of) // max(of, 1)
    bar = "#" * filled + "-" * (_WIDTH - filled)
    score = "" if exposure is None else f", exposure {exposure:g}"
    return f"[{bar}] round {done} of about {of}, {left_s:.0f} s left{score}"


def shorten(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    if len(names) <= _NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"


class Progress:
    """Says on stderr what is going on.

    say  writes a line that stays
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._is_drawn = False
        self._can_draw = sys.stderr.isatty()

    def tell(self, text: str) -> None:
        """A line that stays, above the bar."""
        self.clear()
        self._say(text)

    def draw(self, bar: str, what: str) -> None:
        """The bar, and what is being tried; of no use in a log, where each round is told."""
        if self._can_draw:
            width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
            sys.stderr.write(f"\r\x1b[K{f'{bar} | {what}'[:width]}")
            sys.stderr.flush()
            self._is_drawn = True

    def clear(self) -> None:
        """Take the bar away."""
        if self._is_drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._is_drawn = False
