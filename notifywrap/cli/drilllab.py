"""`notifywrap drill --lab`: where systemd does not run, one that is booted for this alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from notifywrap.cli.journal import show
from notifywrap.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run_in_lab"]

_HERE = Path(__file__).resolve().parents[2]  # where this package is found


def run_in_lab(argv: Sequence[str], words: Sequence[str]) -> int:
    """Do in a lab what *argv* asks for without --lab; returns its exit status.

    words  the unit; of a lab's own units there are none

    Raises LabError where no lab can run.
    """
    from notifywrap.testing.lab import Lab

    if len(words) != 1:
        raise SpecError("--lab: is for a unit; a command needs no systemd")
    unit = Path(words[0]).resolve()
    if not unit.is_file():
        raise SpecError(f"--lab: {words[0]!r}: no such file (a unit's name means none in a lab)")
    rest = [word for word in argv if word not in ("--lab", "--lab=yes", words[0])]
    command = [sys.executable, "-m", "notifywrap", "drill", *rest, str(unit)]
    with Lab(binds=[_HERE]) as lab:
        for each in (unit, *Path(f"{unit}.d").glob("*.conf")):
            copy = lab.root / each.relative_to("/")  # /tmp and the units of /etc are not in a lab
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(each.read_bytes())
        done = lab.run(*command, env={"PYTHONPATH": str(_HERE)}, timeout_s=240)
    show(done.stdout)
    return done.returncode
