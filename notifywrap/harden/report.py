"""What came of it: a document for programs, a few lines for people, and the files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from notifywrap.errors import NotifywrapError
from notifywrap.harden.progress import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["format_files", "format_next", "format_summary", "write_files"]

_UNITS = "/etc/systemd/system"

_MOST_REJECTED = 12  # lines for people; the drop-in has them all


def format_summary(document: Mapping[str, Any]) -> list[str]:
    """What a person wants to know first; the rest is in the drop-in's comments."""
    lines = [f"{document['unit']}: {document['rounds']} rounds, {document['seconds']:.0f} s"]
    exposure, drill = document["exposure"], document["drill"]
    if exposure["after"] is not None:
        lines.append(f"exposure {exposure['before']:g} -> {exposure['after']:g}")
    if drill["after"] is not None:
        counts = f"{drill['before']} -> {drill['after']} of {drill['of']}"
        lines.append(f"what an intruder could do (notifywrap drill): {counts}")
    lines.append(f"kept: {len(document['kept'])}, rejected: {len(document['rejected'])}")
    for rejected in document["rejected"][:_MOST_REJECTED]:
        reason = (rejected["reasons"] or ["no reason was seen"])[0]
        lines.append(f"rejected {rejected['name']}: {reason}")
    if document["untried"]:
        lines.append(f"not tried: {shorten(document['untried'])} (see --max-rounds)")
    if document["interrupted"]:
        lines.append("interrupted: what was proven until then is kept")
    elif not document["verified"]:
        lines.append("the result did not pass when it was tried once more: do not use it as it is")
    return lines


def format_files(document: Mapping[str, Any]) -> str:
    """The files with their names, as `systemctl cat` shows them."""
    files = document["files"].items()
    return "\n".join(f"# {_UNITS}/{name}\n{text}" for name, text in files)


def format_next(document: Mapping[str, Any]) -> str:
    """What to do with files that have been written."""
    unit = document["unit"]
    return f"next: systemctl daemon-reload; systemctl restart {unit}; notifywrap drill {unit}"


def write_files(document: Mapping[str, Any], directory: str) -> list[str]:
    """Write the drop-in, and the units beside it, below *directory*; returns their paths.

    Raises NotifywrapError, and has written none, when one of them is there with another text.
    """
    wanted = {os.path.join(directory, name): text for name, text in document["files"].items()}
    # What needs the others comes last: whoever is killed in between leaves a service as it was.
    wanted = dict(sorted(wanted.items(), key=lambda each: each[0].endswith(".conf")))
    for path, text in wanted.items():
        if _read(path) not in ("", text):
            raise NotifywrapError(f"--output: {path!r} is there already and differs; none written")
    try:
        for path, text in wanted.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise NotifywrapError(f"--output: {error.filename!r}: {error.strerror}") from None
    return list(wanted)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise NotifywrapError(f"--output: {path!r}: {error.strerror}") from None
