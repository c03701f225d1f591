"""The options of the wrapper, taken apart. A table and one loop: argparse would weigh as much as
all our own code."""

from __future__ import annotations

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "MANY",
    "ONCE",
    "OPTIONS",
    "PROBES",
    "RULES",
    "SWITCH",
    "Arguments",
    "Option",
    "as_words",
    "is_about_http",
    "parse_arguments",
    "suggest",
]


class Option(NamedTuple):
    """How an option is written.

    is_repeatable  may it be given more than once?
    takes_value    false for a switch: `--tls-insecure` alone means yes, `--tls-insecure=no` no
    is_switch      may it have nothing but yes and no? `--jail` alone means yes, and --jail=RULES
                   can be written
    """

    is_repeatable: bool = False
    takes_value: bool = True
    is_switch: bool = False


ONCE = Option()
MANY = Option(is_repeatable=True)
SWITCH = Option(takes_value=False, is_switch=True)
RULES = Option(is_repeatable=True, takes_value=False)

OPTIONS = {
    "--ready": MANY,
    "--live": MANY,
    "--probe": MANY,
    "--period": ONCE,
    "--timeout": ONCE,
    "--stable-for": ONCE,
    "--start-timeout": ONCE,
    "--kill-after": ONCE,
    "--fail-after": ONCE,
    "--target-notify": ONCE,
    "--reload": ONCE,
    "--reload-timeout": ONCE,
    "--stop-signal": ONCE,
    "--map-signal": MANY,
    "--sigpipe": ONCE,
    "--main": ONCE,
    "--pidfile": ONCE,
    "--jail": RULES,
    "--credential": MANY,
    "--http-header": MANY,
    "--http-header-credential": MANY,
    "--http-status": ONCE,
    "--http-body": ONCE,
    "--tls-ca": ONCE,
    "--tls-cert": ONCE,
    "--tls-key": ONCE,
    "--tls-insecure": SWITCH,
    "--preset": ONCE,
    "--config": ONCE,
    "--log": ONCE,
    "--log-level": ONCE,
}
# They go together: what names one of them speaks for all three.
PROBES = ("--ready", "--live", "--probe")


class Arguments(NamedTuple):
    """A command line, taken apart but not yet understood.

    values   option name -> what was given for it, in order
    command  what follows "--"; None when there is no "--"
    words    what is neither an option nor behind "--"
    labels   option -> what errors call it, where it came from elsewhere, see settings.py
    own      probe option -> http options for each of its probes alone, in the order of `values`
    hints    what a preset says about probes, where nobody asked for it
    """

    values: Mapping[str, list[str]]
    command: tuple[str, ...] | None
    words: tuple[str, ...]
    labels: Mapping[str, str] = {}
    own: Mapping[str, list[dict[str, list[str]]]] = {}
    hints: Mapping[str, list[str]] = {}

    def label(self, name: str) -> str:
        """What errors call an option: where the user wrote it."""
        return self.labels.get(name, name)

    def last(self, name: str, default: str) -> str:
        """The value of an option that may be given once."""
        return self.values[name][0] if name in self.values else default


def parse_arguments(argv: Sequence[str], known: Mapping[str, Option]) -> Arguments:
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
            raise SpecError(f"{name}: unknown option{_explain(name, known)}")
        if not equals and not known[name].takes_value:
            value = "yes"
        elif not equals:
            if index == len(argv) or argv[index] == "--":
                raise SpecError(f"{name}: needs a value (see notifywrap --help)")
            value = argv[index]
            index += 1
        if name in values and not known[name].is_repeatable:
            raise SpecError(f"{name}: given twice")
        values.setdefault(name, []).append(value)
    return Arguments(values, None, tuple(words))


def as_words(values: Mapping[str, Sequence[str]]) -> list[str]:
    """The command line that `parse_arguments()` would take apart into *values*."""
    return [
        word
        for name, given in values.items()
        for value in given
        for word in ((name, value) if OPTIONS[name].takes_value else (f"{name}={value}",))
    ]


def is_about_http(option: str) -> bool:
    """Is it one of the options that say how http probes ask?"""
    return option.startswith(("--http-", "--tls-"))


def suggest(name: str, known: Iterable[str]) -> str:
    """The one of *known* that was probably meant by *name*; "" when none is like it."""
    import difflib  # only to explain a mistake

    # Without the dashes, which any two options have in common.
    bare = {option.strip("-"): option for option in known}
    close = difflib.get_close_matches(name.strip("-"), bare, 1)
    return bare[close[0]] if close else ""


def _explain(name: str, known: Iterable[str]) -> str:
    meant = suggest(name, known)
    return f" (did you mean {meant}?)" if meant else " (see notifywrap --help options)"
