"""README's table of what units hold, read from there: what it says is what a test measures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from tests.units.machine import Machine

__all__ = ["ROWS", "Row", "assert_as_in_readme"]

# | `traefik` | ... and | [Arch's traefik](tests/units/public/traefik-arch.service) | ...
_ROW = re.compile(
    r"^\| (?:`(?P<ours>[\w@-]+)`|\[[^]]+\]\(tests/units/public/(?P<public>[\w-]+)\.service\))"
    r" \| (?P<who>[^|]+) \| (?P<exposure>[0-9.]+) \| (?P<drill>\d+) \|",
    re.MULTILINE,
)


class Row(NamedTuple):
    """What README says of one unit.

    who  it runs as
    """

    is_ours: bool
    who: str
    exposure: float
    drill: int


ROWS = {
    found["ours"] or found["public"]: Row(
        bool(found["ours"]), found["who"], float(found["exposure"]), int(found["drill"])
    )
    for found in _ROW.finditer((REPOSITORY / "README.md").read_text())
}


def assert_as_in_readme(place: Machine, unit: str, folder: str, left: set[str]) -> None:
    """Nothing works in there but *left*, and both numbers are those of the table."""
    allowed = place.drill(unit)
    assert allowed <= left, allowed - left
    row = ROWS[folder]
    assert (place.exposure(unit), len(allowed)) == (row.exposure, row.drill), allowed
