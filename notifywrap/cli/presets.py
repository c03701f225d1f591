"""Presets: what is known of well-known daemons, as data files of command-line options."""

from __future__ import annotations

from notifywrap.cli.options import OPTIONS, parse_arguments, suggest
from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING, os

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIRECTORY", "find_preset", "parse_preset", "read_preset"]

DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(__file__)), "presets")
LONGEST = 65536


def find_preset(command: str) -> tuple[str, Mapping[str, list[str]]]:
    """(name, option -> values) for the daemon that *command* runs; no values when it has none.

    Never raises: nobody asked for it. A file that cannot be read, as in a sandbox, is none.
    """
    name = os.path.basename(command)
    try:
        return name, _resolve(_read(name))
    except (OSError, ValueError):  # ValueError: a name with a NUL, or with bytes that are no text
        return name, {}


def read_preset(name: str, label: str) -> Mapping[str, list[str]]:
    """option -> values, of the preset *name*. Raises SpecError naming *label* if there is none."""
    try:
        return _resolve(_read(name))
    except (FileNotFoundError, ValueError):
        known = sorted(file.removesuffix(".conf") for file in os.listdir(DIRECTORY))
        meant = suggest(name, known)
        hint = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}, and none"
        raise SpecError(f"{label}: there is no preset {name!r} ({hint})") from None
    except OSError as error:
        raise SpecError(f"{label}: cannot read preset {name!r}: {error.strerror}") from None


def parse_preset(text: str) -> Mapping[str, list[str]]:
    """One option a line, as on a command line but without quoting; lines with # are comments."""
    lines = [line.strip() for line in text.split("\n")]
    options = [line for line in lines if line and not line.startswith("#")]
    return parse_arguments([line.replace(" ", "=", 1) for line in options], OPTIONS).values


def _resolve(text: str) -> Mapping[str, list[str]]:
    """`--preset redis` in a file: another name of the same program. No chains of these."""
    values = parse_preset(text)
    return parse_preset(_read(values["--preset"][0])) if "--preset" in values else values


def _read(name: str) -> str:
    """The text of a file of ours: opened by its name, as looking at a directory costs more."""
    if "/" in name or name.startswith("."):
        raise FileNotFoundError
    fd = os.open(f"{DIRECTORY}/{name}.conf", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, LONGEST).decode()
    finally:
        os.close(fd)
