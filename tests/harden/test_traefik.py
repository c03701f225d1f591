"""`notifywrap harden` on a real Traefik, with certificates by ACME, from no sandbox at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY
from tests.harden.conftest import harden
from tests.system.daemons import until
from tests.units.machine import ASK
from tests.units.test_traefik import BACKEND, CA, CADDYFILE, RESOLVER, SITE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(300)]

UNIT = """\
[Unit]
After=network-online.target
[Service]
Type=notify
ExecStart=/usr/local/bin/notifywrap --probe http://127.0.0.1/ping --http-status 200 \\
    --target-notify ignore -- /usr/local/bin/traefik --configFile=/etc/traefik/traefik.yml
WatchdogSec=10s
StateDirectory=traefik
WorkingDirectory=%S/traefik
TimeoutStopSec=20s
KillMode=mixed
"""
ROUTE = f"/usr/bin/python3 -I {ASK} get http://127.0.0.1/etc/hostname | grep -q '\"status\": 200'"
# Its certificate is issued anew in each round, from fresh state.
SHOP = (
    f"for i in $(seq 100); do /usr/bin/python3 -I {ASK} get https://shop.test/etc/hostname"
    " /etc/traefik/ca.pem | grep -q '\"status\": 200' && exit 0; sleep 0.1; done; exit 1"
)


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Machine:
    """With a site that Traefik has a route to, and a certificate authority."""
    place = machine("traefik", traefik="traefik", caddy="caddy")
    lab, etc = place.lab, place.root / "etc"
    backend = f"/usr/bin/python3 -I -m http.server --bind 127.0.0.1 --directory / {BACKEND}"
    lab.install("backend.service", f"[Service]\nExecStart={backend}\n")
    (etc / "hosts").write_text("127.0.0.1 localhost ca.test shop.test\n")
    (etc / "ca.caddy").write_text(CADDYFILE)
    lab.install(
        "ca.service",
        "[Service]\nEnvironment=HOME=/root XDG_DATA_HOME=/var/lib\nPrivateTmp=yes\n"
        "ExecStart=/usr/local/bin/caddy run --adapter caddyfile --config /etc/ca.caddy\n",
    )
    settings = etc / "traefik/traefik.yml"
    settings.write_text(settings.read_text() + RESOLVER)
    (etc / "traefik/dynamic/site.yml").write_text(
        SITE.replace("RESOLVER", "{certResolver: private}")
    )
    lab.systemctl("start", "backend.service", "ca.service", check=True)
    root = place.root / "var/lib/caddy/pki/authorities/local/root.crt"
    until(root.exists, 20.0)
    (etc / "traefik/ca.pem").write_text(root.read_text())
    directory = f"https://ca.test:{CA}/acme/local/directory"
    until(lambda: place.ask("get", directory).get("status") == 200)
    for path in (REPOSITORY / "units/traefik/systemd/system").glob("*.socket"):
        (place.root / "etc/systemd/system" / path.name).unlink()
    lab.install("traefik.service", UNIT)
    return place


def test_sockets_take_the_place_of_a_capability_and_the_result_serves(place: Machine) -> None:
    """No search over directives finds that; installed with --output it is what it says.

    The hand-made optimum is 1.1 and 7.
    """
    words = ("--exercise", ROUTE, "--exercise", SHOP, "--output", "/etc/systemd/system")
    found = harden(place, "traefik.service", *words)
    print(found["exposure"], found["drill"], found["rounds"], found["seconds"])
    assert found["exposure"]["before"] >= 9.0
    assert "PrivateNetwork" in {each["name"] for each in found["rejected"]}
    kept = {each["name"]: each["settings"] for each in found["kept"]}
    assert "sockets" in kept
    assert kept["CapabilityBoundingSet"] == ["CapabilityBoundingSet="]
    assert found["exposure"]["after"] <= 1.1
    assert found["drill"]["after"] <= 7, found["drill"]["left"]
    place.lab.systemctl("daemon-reload", check=True)
    with place.started("traefik.service") as service:
        service.start()
        assert place.ask("get", "http://127.0.0.1/etc/hostname")["status"] == 200
        assert place.lab.systemctl("is-active", "traefik-web.socket").stdout.strip() == "active"
