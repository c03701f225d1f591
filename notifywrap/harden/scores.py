"""How tight a unit is: systemd's own score, and what an intruder could do."""

from __future__ import annotations

import os
import re
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.drill.report import count_allowed
from notifywrap.drill.run import run_drill
from notifywrap.drill.service import read_unit
from notifywrap.drill.table import NAMED
from notifywrap.harden.guarded import run_guarded
from notifywrap.harden.sweeper import PLACE
from notifywrap.unitfile.findings import Subject

if TYPE_CHECKING:
    from notifywrap.unitfile.findings import Understand
    from notifywrap.unitfile.unit import Unit

__all__ = ["Drilled", "measure_drill", "measure_exposure"]

_LIMIT_S = 30.0
_OWN_TMP = 'mount -n --bind "$1" /tmp && shift && LC_ALL=C.UTF-8 exec "$@"'
_OVERALL = re.compile(r"^→ Overall exposure level for .*?: ([0-9.]+)", re.MULTILINE)


class Drilled(NamedTuple):
    """How many of the attempts worked, and which."""

    allowed: int
    of: int
    names: tuple[str, ...]


def measure_exposure(name: str, text: str, tag: str) -> float | None:
    """What `systemd-analyze security` says of the unit with this text: 0.0 is tight, 9.6 is open.

    None where it cannot say: it judges files, not loaded units, since systemd 250.
    tag  what is written for it begins with that, to be swept
    Source: systemd-analyze(1), --offline=.
    """
    with tempfile.TemporaryDirectory(prefix=f"{tag}-", dir=PLACE) as home:
        path = os.path.join(home, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        words = ["systemd-analyze", "security", "--offline=yes", "--no-pager", path]
        # It makes a directory in /tmp, whatever TMPDIR says, and is killed with us.
        own_tmp = ["unshare", "--mount", "sh", "-c", _OWN_TMP, "sh", home]
        _, said = run_guarded([*own_tmp, *words], tag, limit_s=_LIMIT_S)
    found = _OVERALL.search(said)
    return float(found[1]) if found else None


def measure_drill(unit: Unit, understand: Understand) -> Drilled:
    """The drill on *unit*, as `notifywrap drill` does it.

    Raises NotifywrapError when the attempts cannot be made.
    """
    report, _ = run_drill(unit, read_unit(Subject(unit, understand)))
    allowed = {found.name for found in report.findings if found.allowed}
    names = tuple(attempt.name for attempt in NAMED if attempt.name in allowed)
    return Drilled(count_allowed(report.findings), len(NAMED), names)
