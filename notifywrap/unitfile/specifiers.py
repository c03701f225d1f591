"""What %n, %i, %S and the others stand for (systemd.unit(5), SPECIFIERS), for the system's
manager."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MACHINE", "Name", "SpecifierError", "parse_name", "resolve", "unescape_name"]

# Known at run time alone: they stay as they are, and what has one is marked.
MACHINE = "aAbBHlqmMosvwWD"
_DIRECTORIES = {
    "C": "/var/cache",
    "E": "/etc",
    "L": "/var/log",
    "S": "/var/lib",
    "t": "/run",
    "T": "/tmp",
    "V": "/var/tmp",
    "h": "/root",
    "u": "root",
    "g": "root",
    "U": "0",
    "G": "0",
    "%": "%",
}


class SpecifierError(ValueError):
    """A specifier that systemd does not know: it does not take the value then."""


class Name(NamedTuple):
    """The name of a unit, taken apart: `foo-bar@baz.service`.

    instance  "" for a template, None for a plain unit
    """

    full: str
    prefix: str
    instance: str | None
    suffix: str

    @property
    def template(self) -> str:
        """`foo-bar@.service`; "" where there is none."""
        return "" if self.instance is None else f"{self.prefix}@{self.suffix}"


def parse_name(full: str) -> Name:
    """*full* taken apart. Never raises; a name without a suffix has suffix ""."""
    stem, dot, kind = full.rpartition(".")
    if not dot:
        stem, kind = full, ""
    prefix, at, instance = stem.partition("@")
    return Name(full, prefix, instance if at else None, f".{kind}" if kind else "")


def resolve(text: str, name: Name, path: str = "") -> tuple[str, bool]:
    """(text with its specifiers resolved, are all of them?)

    Raises SpecifierError for a letter or digit that stands for nothing.
    """
    if "%" not in text:
        return text, True
    known = _meanings(name, path)
    pieces, is_whole = list[str](), True
    index, percent = 0, text.find("%")
    while 0 <= percent < len(text) - 1:
        kind = text[percent + 1]
        meant = known.get(kind)
        if meant is None:
            if kind.isascii() and kind.isalnum() and kind not in MACHINE and kind not in "iI":
                raise SpecifierError(f"%{kind} is no specifier (write %% for a percent sign)")
            is_whole = is_whole and not kind.isalnum()
            meant = f"%{kind}"
        pieces += (text[index:percent], meant)
        index = percent + 2
        percent = text.find("%", index)
    return "".join([*pieces, text[index:]]), is_whole


def _meanings(name: Name, path: str) -> dict[str, str]:
    instance = name.instance or ""
    last = name.prefix.rpartition("-")[2]
    known = {
        **_DIRECTORIES,
        "n": name.full,
        "N": name.full.removesuffix(name.suffix),
        "p": name.prefix,
        "P": unescape_name(name.prefix),
        "i": instance,
        "I": unescape_name(instance),
        "j": last,
        "J": unescape_name(last),
        "f": "/" + unescape_name(instance or name.prefix).removeprefix("/"),
        "d": f"/run/credentials/{name.full}",
        "y": path,
        "Y": path.rpartition("/")[0],
    }
    if name.instance == "":  # of a template
        del known["i"], known["I"]
    return known


def unescape_name(text: str) -> str:
    r"""`dev-sda\x2d1` is `dev/sda-1` (systemd-escape --unescape)."""
    pieces = text.replace("-", "/").split("\\x")
    result = pieces[0]
    for piece in pieces[1:]:
        try:
            result += bytes([int(piece[:2], 16)]).decode("latin-1") + piece[2:]
        except ValueError:
            result += f"\\x{piece}"
    return result
