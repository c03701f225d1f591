"""units/caddy, copied into /etc as it stands, around a real Caddy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import until
from tests.units.served import hang_and_recover, restarts
from tests.units.table import assert_as_in_readme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNIT = "caddy.service"
CA = 9443
SITE = """\
shop.test {
	import https
	ISSUER
	respond TEXT
}
http://plain.test {
	import http
	root /srv
	file_server
}
"""
AUTHORITY = f"""\
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
HOSTS = "127.0.0.1 localhost ca.test shop.test plain.test\n"


def site(text: str = "first", issuer: str = "tls internal") -> str:
    return SITE.replace("TEXT", text).replace("ISSUER", issuer)


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Iterator[Machine]:
    """With two sites, and Caddy where its packages put it."""
    place = machine("caddy", **{"../../bin/caddy": "caddy"})
    (place.root / "srv/page").write_text("a page")
    with (
        place.edited("hosts", HOSTS),
        place.edited("caddy/sites/shop.caddyfile", site()),
    ):
        yield place


@pytest.fixture(scope="module")
def service(place: Machine) -> Iterator[Unit]:
    """Caddy, started once for these tests."""
    with place.started(UNIT) as unit:
        unit.start()
        yield unit


def says(place: Machine, text: str) -> bool:
    """Certificates are obtained while it serves already."""
    return place.ask("get", "https://shop.test/").get("body") == text


def test_check_and_verify_find_nothing(place: Machine) -> None:
    """Units that we ship are what people will copy."""
    assert place.check(UNIT) == ""


def test_it_serves_http_when_systemctl_start_returns(place: Machine) -> None:
    """The first client must not find a site that is not there yet."""
    with place.started(UNIT):
        assert place.ask("first", UNIT, 3, "http://plain.test/page") == {"200": 3}


def test_both_ports_are_served_without_any_privilege(place: Machine, service: Unit) -> None:
    """By file descriptors that systemd has opened, in the order of the socket unit."""
    until(lambda: says(place, "first"), 10.0)
    reply = place.lab.run("curl", "-si", "http://shop.test/x").stdout
    assert "308" in reply
    assert "Location: https://shop.test/x" in reply
    assert len(service.pids()) == 2
    for pid in service.pids():
        status = Path(f"/proc/{pid}/status").read_text()
        assert not re.search(r"^[UG]id:.*\b0\b", status, re.M)
        assert re.findall(r"^CapBnd:\s+(\w+)$", status, re.M) == ["0" * 16]
        assert "Seccomp:\t2" in status


def test_clients_are_told_of_http3(place: Machine, service: Unit) -> None:
    """The third socket is of another kind; Caddy says so only where it could take it."""
    until(lambda: says(place, "first"), 10.0)
    reply = place.lab.run("curl", "-ski", "https://shop.test/").stdout
    assert re.search(r'alt-svc: h3=":443"', reply), reply


def test_ping_is_for_this_machine_alone(place: Machine, service: Unit) -> None:
    """What the probe asks for is no page for everybody."""
    place.lab.run("ip", "address", "add", "10.9.8.7/32", "dev", "lo")
    code = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}")
    assert place.lab.run(*code, "http://127.0.0.1/ping").stdout == "200"
    assert place.lab.run(*code, "http://10.9.8.7/ping").stdout == "308"


def test_reload_takes_a_new_site_and_keeps_the_old_one_where_it_is_wrong(
    place: Machine, service: Unit
) -> None:
    """By a signal: the admin port, which any process here could use, is off."""
    with restarts(service, 0):
        with place.edited("caddy/sites/shop.caddyfile", site("second")):
            assert place.lab.systemctl("reload", UNIT).returncode == 0, service.journal()
            until(lambda: says(place, "second"), 10.0)
            with place.edited("caddy/sites/wrong.caddyfile", "wrong.test {\n no_such_word\n}\n"):
                place.lab.systemctl("reload", UNIT)
                assert says(place, "second")
        assert place.lab.systemctl("reload", UNIT).returncode == 0
        until(lambda: says(place, "first"), 10.0)
    assert "refused" in place.ask("get", "http://127.0.0.1:2019/config/")["error"]


def test_nobody_is_refused_while_it_is_restarted(place: Machine, service: Unit) -> None:
    """The sockets are systemd's and stay."""
    count = place.ask("during", 80, "systemctl", "restart", UNIT)
    assert count["made"] > 0
    assert count["refused"] == 0


@pytest.mark.timeout(120)
def test_it_gets_a_certificate_by_acme(place: Machine, service: Unit) -> None:
    """The challenge comes to sockets that Caddy did not bind, and its jail lets it bind none."""
    lab = place.lab
    lab.install(
        "ca.service",
        "[Service]\nEnvironment=HOME=/root XDG_DATA_HOME=/var/lib/ca\nPrivateTmp=yes\n"
        "ExecStart=/usr/bin/caddy run --adapter caddyfile --config /etc/ca.caddy\n",
    )
    issuer = (
        f"tls {{\n issuer acme {{\n dir https://ca.test:{CA}/acme/local/directory\n"
        " trusted_roots /etc/caddy/ca.pem\n disable_tlsalpn_challenge\n }\n }"
    )
    with place.edited("ca.caddy", AUTHORITY):
        lab.systemctl("start", "ca.service", check=True)
        root = place.root / "var/lib/ca/caddy/pki/authorities/local/root.crt"
        until(root.exists, 20.0)
        url = f"https://ca.test:{CA}/acme/local/directory"
        until(lambda: place.ask("get", url).get("status") == 200, 20.0)
        shop = ("get", "https://shop.test/", "/etc/caddy/ca.pem")
        with (
            place.edited("caddy/ca.pem", root.read_text()),
            place.edited("caddy/sites/shop.caddyfile", site("acme", issuer)),
        ):
            assert "error" in place.ask(*shop)
            assert lab.systemctl("reload", UNIT).returncode == 0, service.journal()
            until(lambda: place.ask(*shop).get("body") == "acme", 40.0)
        lab.systemctl("stop", "ca.service", check=True)
    assert lab.systemctl("reload", UNIT).returncode == 0
    until(lambda: says(place, "first"), 10.0)


def test_a_hang_is_acted_on(place: Machine, service: Unit) -> None:
    """The promise of WatchdogSec=, in the whole sandbox."""
    hang_and_recover(service, watchdog_s=5.0, abort_s=3.0)
    until(lambda: says(place, "first"), 10.0)


def test_stopping_the_sockets_stops_all(place: Machine, service: Unit) -> None:
    """`systemctl stop caddy` alone would be undone by the next client; so the unit says."""
    place.lab.systemctl("stop", "caddy.socket", check=True)
    service.wait(ActiveState="inactive", Result="success")
    assert "refused" in place.ask("get", "http://plain.test/page")["error"]
    service.start()


def test_what_an_intruder_could_do(place: Machine, service: Unit) -> None:
    """The numbers of the README's table."""
    left = {"read /etc/passwd", "write state dir", "write acme.json", "start a thread"}
    left |= {"socket AF_INET", "connect backend", "connect other local port"}
    assert_as_in_readme(place, UNIT, "caddy", left)
