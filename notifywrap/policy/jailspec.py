"""What `--jail` takes away from the target: the rules by name, and what they say when written
together."""

from __future__ import annotations

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DEFAULT", "Jail", "JailPath", "parse_jail"]

# What --jail alone means: what hardly any daemon needs, and an intruder does.
DEFAULT = frozenset(("exec", "nofork", "nounix", "nomemfd"))
_ALONE = ("exec", "nofork", "nounix", "nomemfd", "nosignal")
_PATHS = ("exec", "read", "write")
_PORTS = ("bind", "connect")
_NONE_AT_ALL = {"nowrite": "write", "nobind": "bind", "noconnect": "connect"}
_KNOWN = (
    "default, exec, exec=PATH, nofork, nounix, nomemfd, nosignal, read=PATH, write=PATH, nowrite,"
    " bind=PORT, nobind, connect=PORT, noconnect, strict"
)


class JailPath(NamedTuple):
    """A path that a rule makes an exception for.

    rule            "exec", "read" or "write"
    may_be_missing  it was written -PATH: then it is left out where it does not exist
    """

    rule: str
    path: str
    may_be_missing: bool = False


class Jail(NamedTuple):
    """What the target is to live without.

    rules      "exec", "nofork", "nounix", "nomemfd", "nosignal", "read", "write", "bind", "connect"
    paths      what "exec", "read" and "write" leave
    ports      what "bind" and "connect" leave: (rule, TCP port)
    is_strict  where this kernel cannot enforce all of it, nothing is started
    label      what errors call the option
    """

    rules: frozenset[str]
    paths: tuple[JailPath, ...] = ()
    ports: tuple[tuple[str, int], ...] = ()
    is_strict: bool = False
    label: str = "--jail"


def parse_jail(texts: Sequence[str], label: str) -> Jail | None:
    """What `--jail` means when it was given with *texts*: rules, a comma between them; "yes" for
    the option alone. None for no jail.

    Raises SpecError naming *label* and the fix.
    """
    words = [word.strip() for text in texts for word in text.split(",")]
    if words in ([], ["no"]):
        return None
    rules: set[str] = set()
    paths: list[JailPath] = []
    ports: list[tuple[str, int]] = []
    for word in words:
        rule, equals, value = word.partition("=")
        if equals and rule in _PATHS:
            paths += _parse_paths(rule, value, label)
            rules.add(rule)
        elif equals and rule in _PORTS:
            ports.append((rule, _parse_port(word, value, label)))
            rules.add(rule)
        else:
            rules |= _parse_word(word, label)
    for none, rule in _NONE_AT_ALL.items():
        given = [word for word in words if word.startswith(f"{rule}=")]
        if none in words and given:
            raise SpecError(f"{label}: {none} and {given[0]} exclude each other")
    if not rules:  # strict alone
        rules |= DEFAULT
    return Jail(frozenset(rules), tuple(paths), tuple(ports), "strict" in words, label)


def _parse_word(word: str, label: str) -> set[str]:
    """The rules that a word without a value stands for."""
    if word in _ALONE:
        return {word}
    if word in _NONE_AT_ALL:
        return {_NONE_AT_ALL[word]}
    if word in ("default", "yes"):
        return set(DEFAULT)
    if word == "strict":
        return set()
    if word == "no":
        raise SpecError(f"{label}: 'no' means no jail at all and cannot be combined")
    if word in _PATHS + _PORTS:
        example = "443" if word in _PORTS else "/srv/data"
        none = f", or no{word}" if f"no{word}" in _NONE_AT_ALL else ""
        raise SpecError(f"{label}: {word!r} needs a value: write {word}={example}{none}")
    raise SpecError(
        f"{label}: {word!r} is not a rule (known: {_KNOWN}; a path cannot have a comma in it)"
    )


def _parse_paths(rule: str, value: str, label: str) -> list[JailPath]:
    """More than one, where a colon is between them: systemd makes such values, as for
    ${STATE_DIRECTORY} with StateDirectory=a b (systemd.exec(5))."""
    may_be_missing = value.startswith("-")
    found = [
        path if index == 0 else f"/{path}"
        for index, path in enumerate(value.removeprefix("-").split(":/"))
    ]
    for path in found:
        if not path:
            raise SpecError(
                f"{label}: {rule}= needs a path (is a variable in it unset? ${{STATE_DIRECTORY}}"
                " is there with StateDirectory= in the unit)"
            )
        if not path.startswith("/") or "\0" in path:
            why = "write an absolute path"
            if path.startswith(("%", "$")):
                why += " (systemd fills in % and $ in the unit file alone)"
            raise SpecError(f"{label}: {rule}={path}: {why}")
    return [JailPath(rule, path, may_be_missing) for path in found]


def _parse_port(word: str, value: str, label: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 65535):
        raise SpecError(
            f"{label}: {word}: write a TCP port, 1 to 65535"
            " (bind=0 is for ports that the kernel chooses)"
        )
    return int(value)
