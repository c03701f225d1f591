"""Machines with a plain service in them, and harden run on it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from tests.conftest import REPOSITORY
from tests.units.conftest import machine as machine

if TYPE_CHECKING:
    from tests.units.machine import Machine

LIMIT_S = 220.0
WEAK = "/opt/weak.py"  # where a service finds it: /tmp is its own
VICTIM = f"""\
[Service]
Type=notify
ExecStart=/usr/local/bin/notifywrap --probe tcp:127.0.0.1:8087 -- \\
    /usr/bin/python3 -I {WEAK} 8087 /etc/hostname
StateDirectory=victim
CacheDirectory=victim
RuntimeDirectory=victim
ReadWritePaths=/srv
"""


def install_weak(place: Machine) -> None:
    """tests/targets/weak.py, for services of any user."""
    shutil.copy(REPOSITORY / "tests/targets/weak.py", place.root / WEAK[1:])


def install_victim(place: Machine) -> None:
    """victim.service: quick, and with directories of all kinds."""
    install_weak(place)
    place.lab.install("victim.service", VICTIM)


def harden(place: Machine, unit: str, *words: str) -> dict[str, Any]:
    """What `notifywrap harden --json` says of a unit that is installed there."""
    done = place.lab.run(
        "sh", "-c", 'exec 2>/tmp/harden.log; exec "$@"', "sh",
        "/usr/local/bin/notifywrap", "harden", "--json", *words, unit, timeout_s=LIMIT_S,
    )  # fmt: skip
    said = (place.root / "tmp/harden.log").read_text()
    print(said)
    assert done.returncode == 0, said
    return dict(json.loads(done.stdout))


def report(found: dict[str, Any]) -> None:
    """What the README's table has of it."""
    exposure, drill = found["exposure"], found["drill"]
    print(
        f"{found['unit']}: exposure {exposure['before']} -> {exposure['after']},"
        f" drill {drill['before']} -> {drill['after']}, {found['rounds']} rounds,"
        f" {found['seconds']} s; left: {drill['left']}"
    )
