"""The options of the wrapper, taken apart. A table and one loop: argparse would weigh as much as
all our own code."""

from __future__ import annotations

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OPTIONS", "Arguments", "parse_arguments"]

# name -> may it be given more than once?
OPTIONS = {
    "--ready": True,
    "--live": True,
    "--probe": True,
    "--period": False,
    "--timeout": False,
    "--kill-after": False,
    "--stop-signal": False,
    "--sigpipe": False,
    "--main": False,
    "--log-level": False,
}


class Arguments(NamedTuple):
    """A command line, taken apart but not yet understood.

    values   option name -> what was given for it, in order
    command  what follows "--"; None when there is no "--"
    words    what is neither an option nor behind "--"
    """

    values: dict[str, list[str]]
    command: tuple[str, ...] | None
    words: tuple[str, ...]

    def last(self, name: str, default: str) -> str:
        """The value of an option that may be given once."""
        return self.values[name][0] if name in self.values else default


def parse_arguments(argv: Sequence[str], known: dict[str, bool]) -> Arguments:
    """Take *argv* apart. Raises SpecError naming the option that is unknown, lacks its value, or
    comes twice."""
    values: dict[str, list[str]] = {}
    words: list[str] = []
    index = 0
    while index < len(argv):
        word = argv[index]
        index += 1
        if word == "--":
            return Arguments(values, tuple(argv[index:]), tuple(words))
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in known:
            raise SpecError(f"{name}: unknown option{_suggest(name, known)}")
        if not equals:
            if index == len(argv) or argv[index] == "--":
                raise SpecError(f"{name}: needs a value (see notifywrap --help)")
            value = argv[index]
            index += 1
        if name in values and not known[name]:
            raise SpecError(f"{name}: given twice")
        values.setdefault(name, []).append(value)
    return Arguments(values, None, tuple(words))


def _suggest(name: str, known: dict[str, bool]) -> str:
    import difflib  # only to explain a mistake

    # Without the dashes, which any two options have in common.
    close = difflib.get_close_matches(name.strip("-"), [option.strip("-") for option in known], 1)
    return f" (did you mean --{close[0]}?)" if close else " (see notifywrap --help)"
