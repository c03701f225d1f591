"""The file of --config: the options in TOML, and tables for probes that need settings of their own.

It is read in a child that ends with it: the 3 MB that a TOML parser takes are not kept for years.
"""

from __future__ import annotations

import marshal
import os
import stat

from notifywrap.cli.options import OPTIONS, PROBES, is_about_http, suggest
from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Values = dict[str, list[str]]
    Parts = tuple[Values, dict[str, str], dict[str, list[Values]]]

__all__ = ["parse_config", "read_config"]

_MOST_BYTES = 1 << 20
_FILES = ("--tls-ca", "--tls-cert", "--tls-key", "--pidfile")


def read_config(path: str) -> Parts:
    """(values, labels, own) of the file, see `settings.Layer`.

    Raises SpecError naming the file, and the line or the key.
    """
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        return _load(path)  # LimitNPROC=: no child can be had, so the memory is ours
    if pid == 0:
        _answer(path, writer)
    os.close(writer)
    with open(reader, "rb", buffering=0) as pipe:
        answer = pipe.readall()
    os.waitpid(pid, 0)
    died = f"--config: cannot read {path!r}: the child that did has died"
    answered: tuple[str, Parts] = marshal.loads(answer) if answer else (died, ({}, {}, {}))
    error, parts = answered
    if error:
        raise SpecError(error)
    return parts


def _answer(path: str, writer: int) -> None:
    """In the child: (error, parts) to *writer*, and the end."""
    try:
        try:
            answer = marshal.dumps(("", _load(path)))
        except SpecError as error:
            answer = marshal.dumps((str(error), ({}, {}, {})))
        while answer:
            answer = answer[os.write(writer, answer) :]
    finally:
        os._exit(0)


def _load(path: str) -> Parts:
    import tomllib  # only in the child, and only with --config

    try:
        table = tomllib.loads(_read(path).decode())
    except OSError as error:
        raise SpecError(f"--config: cannot read {path!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError(f"{path}: {str(error) or 'is nested too deep'}") from None
    return parse_config(table, path)


def _read(path: str) -> bytes:
    """Its contents. Never waits: nobody could stop the service. Raises OSError, SpecError."""
    # O_NONBLOCK: opening a FIFO waits for a writer.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise SpecError(f"--config: {path!r} is not a regular file")
        text = file.read(_MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise SpecError(f"--config: {path!r} is longer than {_MOST_BYTES >> 20} MiB")
    return text


def parse_config(table: Mapping[str, Any], path: str) -> Parts:
    """(values, labels, own) of what the file at *path* says. Raises SpecError naming the key."""
    values: Values = {}
    labels: dict[str, str] = {}
    own: dict[str, list[Values]] = {}
    for key, value in table.items():
        option = f"--{key}"
        place = f"{path}: {key}"
        if option not in OPTIONS or option == "--config":
            raise SpecError(f"{path}: unknown key {key!r}{_explain(key, OPTIONS)}")
        labels[option] = place
        if option in PROBES:
            texts, settings = _probes(value, place, path)
            values[option] = texts
            if isinstance(value, list):
                own[option] = settings
        else:
            values[option] = _texts(option, value, place, path)
    return values, labels, own


def _probes(value: Any, place: str, path: str) -> tuple[list[str], list[Values]]:
    """Texts, and for each its own settings; *value* is a text, a list of texts, or [[tables]]."""
    texts: list[str] = []
    settings: list[Values] = []
    for index, each in enumerate(value if isinstance(value, list) else [value]):
        table = each if isinstance(each, dict) else {"probe": each}
        where = f"{place}[{index + 1}]" if isinstance(each, dict) else place
        if not isinstance(table.get("probe"), str):
            raise SpecError(f'{where}: needs a probe as text, for example probe = "tcp:8080"')
        known = [option for option in OPTIONS if is_about_http(option)]
        own: Values = {}
        for key, setting in table.items():
            if key == "probe":
                continue
            option = f"--{key}"
            if option not in known:
                meant = _explain(key, [*known, "--probe"])
                raise SpecError(f"{where}: unknown key {key!r} for one probe{meant}")
            own[option] = _texts(option, setting, f"{where}.{key}", path)
        texts.append(table["probe"])
        settings.append(own)
    return texts, settings


def _texts(option: str, value: Any, place: str, path: str) -> list[str]:
    """What the command line would have for it."""
    many = value if isinstance(value, list) else [value]
    if value == "":
        many = []  # as an empty variable: not set, nor by a preset
    if len(many) > 1 and not OPTIONS[option].is_repeatable:
        raise SpecError(f"{place}: takes one value, not {len(many)}")
    return [_text(option, each, place, path) for each in many]


def _text(option: str, value: Any, place: str, path: str) -> str:
    is_switch = OPTIONS[option].is_switch
    if isinstance(value, bool) and not OPTIONS[option].takes_value:
        return "yes" if value else "no"
    if isinstance(value, str) and not is_switch:
        if option in _FILES:
            # A file beside the file: whoever moves the directory moves both.
            return os.path.join(os.path.dirname(os.path.abspath(path)), value)
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and not is_switch:
        return (
            format(value, "f").rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        )
    raise SpecError(f"{place}: must be {'true or false' if is_switch else 'text or a number'}")


def _explain(key: str, known: Any) -> str:
    meant = suggest(key, known).removeprefix("--")
    return f" (did you mean {meant}?)" if meant else " (see notifywrap --help config)"
