"""Running a command of ours in a lab: where systemd does not run, one is booted for this alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from notifywrap.testing.lab import Lab

__all__ = ["Answer", "find_unit", "run_in_lab"]

_HERE = Path(__file__).resolve().parents[2]  # where this package is found
_NOT_IN_A_LAB = ("/tmp/", "/run/", "/var/tmp/")  # a lab has its own


class Answer(NamedTuple):
    """What came of it: exit status, and stdout. stderr went to ours as it came."""

    status: int
    out: str


def find_unit(word: str) -> list[Path]:
    """The unit file that *word* names, and what belongs to it: drop-ins, and .socket units.

    Raises SpecError when there is no such file: a lab has none of the host's units.
    """
    unit = Path(word).resolve()
    if not unit.is_file():
        raise SpecError(
            f"--lab: {word!r}: no such file (write its path: a lab has no units by name)"
        )
    sockets = sorted(unit.parent.glob(f"{unit.stem}*.socket"))
    return [unit, *sorted(Path(f"{unit}.d").glob("*.conf")), *sockets]


def run_in_lab(words: Sequence[str], files: Iterable[Path], binds: Iterable[str] = ()) -> Answer:
    """Run `notifywrap WORDS` in a lab that is booted for it, and taken down after it.

    files  to be copied to the same place in there
    binds  to be seen in there, read-only: directories below /tmp, for example

    ctrl-C goes to the command in there, which has its own way to end. Raises LabError where no lab
    can run.
    """
    from notifywrap.testing.lab import Lab

    paths = [os.path.realpath(each) for each in binds]
    seen = [path for path in paths if f"{path}/".startswith(_NOT_IN_A_LAB)]
    with Lab(binds=[_HERE, *seen]) as lab:
        for each in files:
            if str(each).startswith(tuple(f"{path}/" for path in seen)):
                continue
            copy = lab.root / each.relative_to("/")  # the units of /etc are not in a lab
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(each.read_bytes())
        return _run(lab, [sys.executable, "-m", "notifywrap", *words])


def _run(lab: Lab, command: Sequence[str]) -> Answer:
    environment = {"PYTHONPATH": str(_HERE), "PYTHONSAFEPATH": "1"}
    process = lab.popen(*command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    while True:
        try:
            out, _ = process.communicate()
        except KeyboardInterrupt:
            _interrupt(process.pid)
        else:
            return Answer(process.returncode, out.decode("utf-8", "replace"))


def _interrupt(nsenter: int) -> None:
    """Pass a ctrl-C on: the command is in a session of its own, below nsenter."""
    children = Path(f"/proc/{nsenter}/task/{nsenter}/children").read_text(encoding="ascii")
    for child in children.split():
        os.kill(int(child), signal.SIGINT)
