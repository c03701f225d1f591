"""units/traefik and its variants, copied into /etc as they stand, around a real Traefik."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import hang, main_pid, restarted_after, target_pid, until
from tests.units.table import assert_as_in_readme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNIT = "traefik.service"
FOLDERS = ("traefik", "traefik-strict", "traefik-ports")
WATCHDOG_S = 5.0
END_S = 3.0  # TimeoutAbortSec= and RestartSec=: one that hangs like this does not react to ABRT
BACKEND, CA = 8800, 9443
# What a sysadmin adds: a route to a service of his, by http and by https.
SITE = f"""\
http:
  routers:
    site: {{entryPoints: [web], rule: "PathPrefix(`/etc`)", service: site}}
    shop:
      entryPoints: [websecure]
      rule: "Host(`shop.test`)"
      service: site
      tls: RESOLVER
  services:
    site: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{BACKEND}"}}]}}}}
"""
URL = "http://127.0.0.1/etc/hostname"
RESOLVER = f"""
certificatesResolvers:
  private:
    acme:
      storage: acme.json
      caServer: https://ca.test:{CA}/acme/local/directory
      caCertificates: [/etc/traefik/ca.pem]
      httpChallenge: {{entryPoint: web}}
"""
CADDYFILE = f"""\
{{
    admin off
    skip_install_trust
    auto_https disable_redirects
}}
https://ca.test:{CA} {{
    tls internal
    acme_server
}}
"""


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(machine: Callable[..., Machine], folder: str) -> Iterator[Machine]:
    """Its machine, with a site in it that Traefik has a route to."""
    place = machine(folder, traefik="traefik", caddy="caddy")
    command = f"/usr/bin/python3 -I -m http.server --bind 127.0.0.1 --directory / {BACKEND}"
    place.lab.install("backend.service", f"[Service]\nExecStart={command}\n")
    place.lab.systemctl("start", "backend.service", check=True)
    until(lambda: place.ask("get", f"http://127.0.0.1:{BACKEND}/").get("status") == 200)
    with place.edited("traefik/dynamic/site.yml", SITE.replace("RESOLVER", "{}")):
        yield place
    place.lab.systemctl("stop", "backend.service", check=True)


@pytest.fixture
def service(place: Machine) -> Iterator[Unit]:
    """Traefik, not yet started."""
    with place.started(UNIT) as unit:
        yield unit


def only(*folders: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("folder", folders, indirect=True)


def test_check_and_verify_find_nothing(place: Machine) -> None:
    """Units that we ship are what people will copy."""
    assert place.check(UNIT) == ""


def test_it_serves_on_both_ports_without_any_privilege(
    place: Machine, service: Unit, folder: str
) -> None:
    """Copy, start, and it is there: with no right but to bind its ports, where it has to."""
    service.start()
    assert place.ask("get", URL)["status"] == 200
    assert place.ask("get", "https://shop.test/etc/hostname")["status"] == 200
    assert place.ask("get", "http://127.0.0.1/no-such-route")["status"] == 404
    for pid in (main_pid(service), target_pid(service)):
        status = Path(f"/proc/{pid}/status").read_text()
        assert not re.search(r"^Uid:.*\b0\b", status, re.M)
        capabilities = int(re.findall(r"^CapBnd:\s+(\w+)$", status, re.M)[0], 16)
        assert capabilities == (1 << 10 if folder == "traefik-ports" else 0)
        assert "Seccomp:\t2" in status


def test_ping_is_for_this_machine_alone(place: Machine, service: Unit) -> None:
    """What the probe asks for is no page for everybody: a client elsewhere gets 404."""
    place.lab.run("ip", "address", "add", "10.9.8.7/32", "dev", "lo")
    service.start()
    assert place.ask("get", "http://127.0.0.1/ping")["status"] == 200
    assert place.ask("get", "http://[::1]/ping")["status"] == 200
    assert place.ask("from", "10.9.8.7", "http://10.9.8.7/ping")["status"] == 404


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("folder", "times"),
    [("traefik", 20), ("traefik-strict", 5), ("traefik-ports", 5)],
    indirect=["folder"],
)
def test_the_first_request_after_each_start_is_routed(
    place: Machine, service: Unit, times: int
) -> None:
    """/ping is a route of the same provider as the site's: it answers when they are there."""
    assert place.ask("first", UNIT, times, URL) == {"200": times}


@pytest.mark.timeout(120)
def test_it_gets_a_certificate_by_acme(place: Machine, service: Unit) -> None:
    """acme.json in its state directory, its authority asked through the sandbox: a real one."""
    lab, etc = place.lab, place.root / "etc"
    hosts = "127.0.0.1 localhost ca.test shop.test\n"
    environment = "Environment=HOME=/root XDG_DATA_HOME=/var/lib\nPrivateTmp=yes\n"
    lab.install(
        "ca.service",
        f"[Service]\n{environment}"
        "ExecStart=/usr/local/bin/caddy run --adapter caddyfile --config /etc/ca.caddy\n",
    )
    yml = (etc / "traefik/traefik.yml").read_text() + RESOLVER
    site = SITE.replace("RESOLVER", "{certResolver: private}")
    with (
        place.edited("hosts", hosts),
        place.edited("ca.caddy", CADDYFILE),
        place.edited("traefik/traefik.yml", yml),
        place.edited("traefik/dynamic/site.yml", site),
    ):
        lab.systemctl("start", "ca.service", check=True)
        root = place.root / "var/lib/caddy/pki/authorities/local/root.crt"
        until(root.exists, 20.0)
        url = f"https://ca.test:{CA}/acme/local/directory"
        until(lambda: place.ask("get", url).get("status") == 200, 20.0)
        with place.edited("traefik/ca.pem", root.read_text()):
            service.start()
            shop = ("get", "https://shop.test/etc/hostname", "/etc/traefik/ca.pem")
            until(lambda: place.ask(*shop).get("status") == 200, 40.0)
            kept = place.root / "var/lib/private/traefik/acme.json"
            assert kept.stat().st_mode & 0o777 == 0o600
        lab.systemctl("stop", "ca.service", check=True)
        service.stop()
        kept.unlink()


def test_reload_opens_the_logs_anew(place: Machine, service: Unit) -> None:
    """Log rotation: rename, `systemctl reload`, and the next request is in a new file."""
    yml = (place.root / "etc/traefik/traefik.yml").read_text()
    state = place.root / "var/lib/private/traefik"
    with place.edited("traefik/traefik.yml", f"{yml}\naccessLog: {{filePath: access.log}}\n"):
        service.start()
        (state / "access.log").rename(state / "access.log.1")
        assert place.lab.systemctl("reload", UNIT).returncode == 0, service.journal()
        until((state / "access.log").exists)
        assert place.ask("get", URL)["status"] == 200
        assert service.show("NRestarts") == {"NRestarts": "0"}


def test_a_new_route_needs_no_reload(place: Machine, service: Unit) -> None:
    """The sandbox must not keep Traefik from seeing files change."""
    service.start()
    assert place.ask("get", "http://127.0.0.1/usr")["status"] == 404
    with place.edited(
        "traefik/dynamic/site.yml", SITE.replace("/etc", "/usr").replace("RESOLVER", "{}")
    ):
        until(lambda: place.ask("get", "http://127.0.0.1/usr/")["status"] == 200, 10.0)


def test_a_hang_is_acted_on_within_twice_the_watchdogs_time(place: Machine, service: Unit) -> None:
    """The promise of WatchdogSec=, in the whole sandbox."""
    service.start()
    assert restarted_after(service, hang(service)) <= 2 * WATCHDOG_S + END_S, service.journal()
    assert "Failed with result 'watchdog'" in service.journal()
    assert place.ask("get", URL)["status"] == 200


def test_nobody_is_refused_while_it_is_restarted(
    place: Machine, service: Unit, folder: str
) -> None:
    """The sockets are systemd's and stay. A Traefik that binds its ports itself is the control."""
    service.start()
    count = place.ask("during", 80, "systemctl", "restart", UNIT)
    assert count["made"] > 0
    assert (count["refused"] > 0) == (folder == "traefik-ports"), count


@only("traefik", "traefik-strict")
def test_stopping_the_sockets_stops_all(place: Machine, service: Unit) -> None:
    """`systemctl stop traefik` alone would be undone by the next client; so the unit says."""
    service.start()
    place.lab.systemctl("stop", "traefik-web.socket", "traefik-websecure.socket", check=True)
    service.wait(ActiveState="inactive", Result="success")
    assert "refused" in place.ask("get", URL)["error"]


def test_what_an_intruder_could_do(place: Machine, service: Unit, folder: str) -> None:
    """The numbers of the README's table."""
    service.start()
    left = {"write state dir", "write acme.json", "start a thread", "socket AF_INET"}
    left |= {"connect backend", "connect other local port"}
    if folder != "traefik-strict":
        left |= {"read /etc/passwd"}
    assert_as_in_readme(place, UNIT, folder, left)
