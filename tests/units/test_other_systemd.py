"""The units of Traefik and MinIO under other versions of systemd, with their Debian's Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY
from tests.system.daemons import program
from tests.units.machine import Machine
from tests.units.table import ROWS
from tests.units.test_minio import GATEWAY, SHIPPED, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.testing.lab import Lab

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

FOLDERS = ("traefik", "traefik-strict", "traefik-ports", "minio")


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("suite", ["bookworm-backports", "trixie", "sid"])
def test_units_serve_and_hold_the_same(
    lab_of: Callable[[str], Lab], suite: str, folder: str
) -> None:
    """What a newer systemd or Python needs besides must not be found out by those who upgrade."""
    lab_of(suite)  # skips where there is none
    name = folder.partition("-")[0]
    unit, url = f"{name}.service", "http://127.0.0.1/ping"
    programs = {name: program("juicefs" if name == "minio" else name)}
    place = Machine(folder, programs, rootfs=REPOSITORY / ".cache/rootfs" / suite)
    try:
        if name == "minio":
            url = "http://127.0.0.1:9000/minio/health/live"
            prepare(place)
            path = place.root / "etc/systemd/system" / unit
            path.write_text(path.read_text().replace(SHIPPED, GATEWAY))
            place.lab.systemctl("daemon-reload", check=True)
        place.unit(unit).start()
        assert place.ask("get", url)["status"] == 200
        row = ROWS[folder]  # as under 252
        assert len(place.drill(unit)) == row.drill
        assert place.exposure(unit) <= row.exposure
        assert place.check(unit) == ""
    finally:
        place.lab.down()
