"""Type=notify-reload, as `notifywrap unit install --notify-reload` sets it, under a systemd that
has it: with real daemons, and what it cannot do."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import pytest

from notifywrap.cli import unit as command
from tests.conftest import REPOSITORY
from tests.system.daemons import program, until
from tests.units.machine import Machine
from tests.units.promises import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

SUITE = "trixie"  # systemd 257
TOKEN = "12ab34cd56"
editions = itertools.count(1)


def log_is_opened_anew(place: Machine, unit: Unit) -> None:
    """Traefik's reload."""
    log = place.root / "var/lib/private/traefik/access.log"
    log.rename(f"{log}.1")
    reload(place, unit)
    assert log.exists()


def site_is_read_anew(place: Machine, unit: Unit) -> None:
    edition = f"edition-{next(editions)}"
    site = f"http://plain.test {{\n\timport http\n\trespond {edition}\n}}\n"
    with place.edited("caddy/sites/plain.caddyfile", site):
        reload(place, unit)
        assert place.ask("get", "http://plain.test/").get("body") == edition


def settings_are_read_anew(place: Machine, unit: Unit) -> None:
    text = (place.root / "etc/nats/nats-server.conf").read_text()
    with place.edited("nats/nats-server.conf", f"{text}\nmax_payload: 54321\n"):
        reload(place, unit)
        assert '"max_payload":54321' in say(place, 4222, "", "\r\n")


class Case(NamedTuple):
    """A folder of units/, where its program belongs, and what a reload of it does."""

    unit: str
    path: str
    program: str
    reloads: Callable[[Machine, Unit], None]


_TRAEFIK = Case("traefik.service", "traefik", "traefik", log_is_opened_anew)
CASES = {
    "traefik": _TRAEFIK,
    "traefik-strict": _TRAEFIK,
    "traefik-ports": _TRAEFIK,
    "caddy": Case("caddy.service", "../../bin/caddy", "caddy", site_is_read_anew),
    "nats": Case("nats.service", "nats-server", "nats-server", settings_are_read_anew),
}


def reload(place: Machine, unit: Unit) -> None:
    """Without waiting for anything: it has happened when systemctl returns."""
    assert place.lab.systemctl("reload", unit.name).returncode == 0, unit.journal()


@pytest.mark.parametrize("folder", CASES)
def test_systemd_itself_asks_for_the_reload(lab_of: Callable[[str], Lab], folder: str) -> None:
    """A drop-in of two lines, and all is as with ExecReload=."""
    lab_of(SUITE)  # skips where there is none
    case = CASES[folder]
    programs = {case.path: program(case.program)}
    place = Machine(folder, programs, rootfs=REPOSITORY / ".cache/rootfs" / SUITE)
    try:
        words = ["install", "--root", str(place.root), "--notify-reload", folder]
        assert command.main(words) == 0
        log = place.root / "etc/traefik/traefik.yml"
        if log.exists():
            log.write_text(f"{log.read_text()}\naccessLog: {{filePath: access.log}}\n")
        (place.root / "etc/nats").mkdir(exist_ok=True)
        (place.root / "etc/nats/token").write_text(f"{TOKEN}\n")
        place.lab.systemctl("daemon-reload", check=True)
        unit = place.unit(case.unit)
        unit.start()
        assert unit.show("Type") == {"Type": "notify-reload"}
        assert place.check(case.unit) == ""
        for _ in range(2):
            case.reloads(place, unit)
        told = unit.show("ActiveState", "NRestarts")
        assert told == {"ActiveState": "active", "NRestarts": "0"}
    finally:
        place.lab.down()


def test_a_check_before_it_is_not_waited_for(lab_of: Callable[[str], Lab]) -> None:
    """Why the units of gunicorn and Prometheus stay with Type=notify: with this type systemd sends
    HUP first, whatever ExecReload= says."""
    lab = lab_of(SUITE)
    name = "asks-first.service"
    script = (
        "trap 'echo got HUP' HUP; systemd-notify --ready; while :; do read -t 1 x <>/run/x; done"
    )
    lab.install(
        name,
        "[Service]\nType=notify-reload\nNotifyAccess=all\nExecReload=/bin/false\n"
        f'ExecStartPre=/usr/bin/mkfifo /run/x\nExecStart=/bin/bash -c "{script}"\n',
    )
    lab.systemctl("start", name, check=True)
    try:
        assert lab.systemctl("reload", name).returncode != 0
        until(lambda: "got HUP" in lab.journal(name))
    finally:
        lab.systemctl("stop", name)
        (lab.root / "etc/systemd/system" / name).unlink()
