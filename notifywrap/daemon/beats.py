"""Which parts of a daemon have shown that they get on, and which are late. No clock, no I/O."""

from __future__ import annotations

from notifywrap.errors import NotifyError

__all__ = ["Beats", "parse_within", "same_trouble"]


class Beats:
    """Named parts, each with how often it has to show itself.

    Safe for beats from several threads: one beat is one assignment.
    """

    def __init__(self) -> None:
        self._within_s: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def add(self, name: str, within_s: float, now: float) -> None:
        """Expect *name* at least every *within_s* seconds, from *now* on. A name that is known
        starts anew."""
        self._last[name] = now
        self._within_s[name] = within_s

    def remove(self, name: str) -> None:
        """Expect *name* no longer."""
        self._within_s.pop(name, None)
        self._last.pop(name, None)

    def beat(self, name: str, now: float) -> None:
        """*name* gets on. One that was removed meanwhile stays removed."""
        if name in self._last:
            self._last[name] = now

    def find_late(self, now: float) -> dict[str, float]:
        """Who is late, and for how many seconds each has been silent."""
        return {
            name: now - self._last.get(name, now)
            for name, within_s in list(self._within_s.items())
            if now - self._last.get(name, now) > within_s
        }

    def describe_late(self, now: float) -> str:
        """Who is late, for STATUS; "" when nobody is."""
        late = self.find_late(now)
        return ", ".join(f"{name} silent for {silent_s:.1f} s" for name, silent_s in late.items())


def parse_within(within: float) -> float:
    """A length of time in which somebody has to show himself, in seconds. Raises NotifyError for
    what is none: NaN would never be over."""
    try:
        if 0 < within < float("inf"):
            return float(within)
    except TypeError:
        pass
    raise NotifyError(f"within: {within!r} is not a length of time in seconds")


def same_trouble(one: str, other: str) -> bool:
    """Do both texts tell of the same, but for how long it has lasted?"""
    return _without_times(one) == _without_times(other)


def _without_times(text: str) -> list[str]:
    words = text.split()
    pairs = zip(words, [*words[1:], ""], strict=False)  # none of ""
    return [word for word, unit in pairs if not (unit.rstrip(",") == "s" and _is_number(word))]


def _is_number(word: str) -> bool:
    return word.replace(".", "", 1).isdigit()
