"""Units that Debian ships and many people run: nothing is wrong with them that would have to be
done something about."""

from __future__ import annotations

from pathlib import Path

import pytest

from notifywrap.cli.check import understand
from notifywrap.unitfile.findings import Severity
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load_path

DIRECTORY = Path("/usr/lib/systemd/system")
NAMES = (
    "etcd", "nginx", "postgresql@main", "prometheus", "redis-server", "redis-server@a",
    "systemd-journald", "systemd-logind", "systemd-networkd", "user@1",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_false_alarm_about_a_unit_of_debian(name: str):
    """Whoever gets one turns the check off."""
    path = DIRECTORY / f"{name}.service"
    if not path.exists() and not (DIRECTORY / f"{name.partition('@')[0]}@.service").exists():
        pytest.skip(f"there is no {path}: script/setup installs its package")
    found = lint(load_path(str(path)), understand)
    assert [each for each in found if each.severity is not Severity.HINT] == []
