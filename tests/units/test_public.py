"""The units that others publish, beside ours: measured in the same way, as README's table says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY
from tests.units.table import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.units.machine import Machine

PUBLIC = Path(__file__).parent / "public"
UNITS = REPOSITORY / "units"
NAMES = sorted(path.stem for path in PUBLIC.glob("*.service"))
USERS = "u traefik - - /var/lib/traefik\nu caddy - - /var/lib/caddy\nu minio-user\nu minio\n"
PROGRAMS = ("usr/bin/traefik", "usr/local/bin/traefik", "usr/bin/caddy", "usr/local/bin/minio")
SETTINGS = ("etc/traefik/traefik.toml", "etc/traefik/acme.json", "etc/caddy/Caddyfile",
            "etc/caddy/caddy_config", "etc/default/minio")  # fmt: skip


def file_of(name: str) -> Path:
    return PUBLIC / f"{name}.service"


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Machine:
    """With their users, settings and programs, of which a drill runs none: any will do."""
    place = machine("notifywrap@")
    for name in SETTINGS:
        file = place.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for name in PROGRAMS:
        shutil.copy("/usr/bin/true", place.root / name)
    for name in ("home/user", "var/lib/traefik", "etc/sysusers.d"):
        (place.root / name).mkdir(parents=True, exist_ok=True)
    (place.root / "etc/sysusers.d/public.conf").write_text(USERS)
    place.lab.run("systemd-sysusers", check=True)
    owned = ("/var/lib/traefik", "/etc/traefik/acme.json")
    place.lab.run("chown", "traefik:", *owned, check=True)
    return place


def test_every_unit_has_its_row():
    """Ours and theirs, in one table: what is not in it was not measured."""
    ours = {path.name for path in UNITS.iterdir() if path.is_dir()}
    assert {name for name, row in ROWS.items() if row.is_ours} == ours
    assert {name for name, row in ROWS.items() if not row.is_ours} == set(NAMES)


@pytest.mark.parametrize("name", ROWS)
def test_the_row_says_whom_it_runs_as(name: str):
    """Root's capabilities weigh more than both numbers."""
    (path,) = (UNITS / name).rglob("*.service") if ROWS[name].is_ours else (file_of(name),)
    text = path.read_text()
    users = re.findall(r"^User=(.*)$", text, re.MULTILINE)
    if not users:
        users = ["its", "own"] if "\nDynamicUser=yes\n" in text else ["root"]
    capabilities = re.findall(r"^AmbientCapabilities=(.*)$", text, re.MULTILINE)
    words = [*users, *" ".join(capabilities).upper().split()]
    assert re.findall(r"[\w-]+", ROWS[name].who) == words


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_of_others_says_where_it_is_from(name: str):
    """Who compares wants to look for himself."""
    assert re.match(r"# .*(source: |began|traefik-contrib\.service)", file_of(name).read_text())


@pytest.mark.systemd
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_its_numbers_are_those_of_the_table(place: Machine, name: str):
    """Nobody has to take our word for what other units let through."""
    unit = f"{name}.service"
    place.lab.install(unit, file_of(name).read_text())
    place.lab.systemctl("daemon-reload", check=True)
    row = ROWS[name]
    assert (place.exposure(unit), len(place.drill(unit))) == (row.exposure, row.drill)
