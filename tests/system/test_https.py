"""https and grpc probes as a sysadmin uses them: real daemons, a real systemd, real hangs.

With all that can be said about who asks and what is answered: authority, client certificate,
header from a credential, status, body.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.probes.certificates import Certificates, make_certificates
from tests.system.daemons import Daemon, hang, program, restarted_after, stays_up, until, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Unit

    UnitMaker = Callable[..., Unit]

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

WATCHDOG_S = 1.0
LIMIT_S = WATCHDOG_S + 0.5
HTTPS, CADDY_HTTPS, GRPC = 8141, 8142, 8143
SECRET = "Bearer 4711-and-a-bit"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path)


def nginx(pems: Certificates, certificate: str = "good") -> Daemon:
    """For members with a client certificate, and a page for who knows the secret."""
    home = pems.home
    (home / "nginx.conf").write_text(
        f"""\
daemon off;
user root;
worker_processes 2;
pid {home}/nginx.pid;
error_log {home}/error.log info;
events {{ }}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{HTTPS} ssl;
        ssl_certificate {pems.pem(certificate)};
        ssl_certificate_key {pems.key(certificate)};
        ssl_client_certificate {pems.pem("ca")};
        ssl_verify_client on;
        if ($http_authorization != "{SECRET}") {{ return 401; }}
        location / {{ return 200 "state: serving"; }}
    }}
}}
"""
    )
    command = f"{program('nginx')} -e {home}/error.log -c {home}/nginx.conf"
    return Daemon(command, HTTPS, "", "", (f"https://127.0.0.1:{HTTPS}/health",))


def caddy(pems: Certificates) -> Daemon:
    """Go's TLS: it knows one site, and answers nobody who asks for none."""
    home = pems.home
    (home / "Caddyfile").write_text(
        f"""\
{{
    admin off
    auto_https off
}}
https://shop.example:{CADDY_HTTPS} {{
    tls {pems.pem("good")} {pems.key("good")}
    respond "served"
}}
"""
    )
    command = f"{program('caddy')} run --adapter caddyfile --config {home}/Caddyfile"
    probes = (f"https://127.0.0.1:{CADDY_HTTPS}/",)
    return Daemon(command, CADDY_HTTPS, "", "", probes, (f"HOME={home}",))


def options(pems: Certificates) -> list[str]:
    return [
        *("--tls-ca", pems.pem("ca"), "--tls-cert", pems.pem("client")),
        *("--tls-key", pems.key("client"), "--http-header-credential", "Authorization:token"),
        *("--http-status", "200", "--http-body", "^state: serving$"),
    ]


def test_nginx_is_ready_watched_and_restarted_over_https(
    unit: UnitMaker, certificates: Certificates, tmp_path: Path
) -> None:
    """Everything at once, as in a unit that takes its health seriously. Nobody reads the secret."""
    (tmp_path / "token").write_text(f"{SECRET}\n")
    daemon = nginx(certificates)
    service = wrap(daemon, "--probe", daemon.probes[0], *options(certificates))
    one = unit(**service, LoadCredential=f"token:{tmp_path}/token")
    assert stays_up(one, 3 * WATCHDOG_S), one.journal()
    assert restarted_after(one, hang(one)) <= LIMIT_S, one.journal()
    assert f"unhealthy: {daemon.probes[0]}" in one.journal()
    assert stays_up_again(one), one.journal()
    log = (tmp_path / "error.log").read_text(errors="replace")
    assert "SSL" not in log, log
    told = one.journal() + one.show("StatusText")["StatusText"] + one.show("ExecStart")["ExecStart"]
    assert SECRET.split()[1] not in told


def stays_up_again(one: Unit) -> bool:
    """Up and well after its one restart."""
    one.wait(ActiveState="active", NRestarts="1")
    return one.show("StatusText")["StatusText"].startswith("ready after")


@pytest.mark.parametrize(
    ("certificate", "words"),
    [("expired", "certificate has expired"), ("wrong", "certificate is not for 127.0.0.1")],
)
def test_a_start_that_no_client_would_take_says_why(
    unit: UnitMaker, certificates: Certificates, tmp_path: Path, certificate: str, words: str
) -> None:
    """`systemctl status` is where people look when a start hangs."""
    (tmp_path / "token").write_text(SECRET)
    daemon = nginx(certificates, certificate)
    service = wrap(daemon, "--probe", daemon.probes[0], *options(certificates))
    one = unit(**service, LoadCredential=f"token:{tmp_path}/token", start=False)
    one.lab.systemctl("start", "--no-block", one.name, check=True)
    until(lambda: words in one.show("StatusText")["StatusText"])
    assert one.show("ActiveState")["ActiveState"] == "activating"


def test_caddy_is_asked_for_the_site_in_the_host_header(
    unit: UnitMaker, certificates: Certificates
) -> None:
    """Its log is quiet about it: Go tells of each handshake that was broken off."""
    daemon = caddy(certificates)
    asked = ("--http-header", "Host:shop.example", "--tls-ca", certificates.pem("ca"))
    one = unit(**wrap(daemon, "--probe", daemon.probes[0], *asked, "--http-body", "served"))
    assert stays_up(one, 3 * WATCHDOG_S), one.journal()
    assert "handshake" not in one.journal(), one.journal()
    assert restarted_after(one, hang(one)) <= LIMIT_S, one.journal()


def test_grpc_health_is_followed_and_a_hang_is_caught(unit: UnitMaker, tmp_path: Path) -> None:
    """NOT_SERVING is the server's own word for unhealthy; one that is stopped says nothing."""
    status = tmp_path / "status"
    status.write_text("SERVING")
    server = Path(__file__).resolve().parents[1] / "targets/health_rpc.py"
    probe = f"grpc://127.0.0.1:{GRPC}"
    command = f"{sys.executable} {server} --port {GRPC} --file {status}"
    one = unit(**wrap(Daemon(command, GRPC, "", "", (probe,)), "--probe", probe))
    assert stays_up(one, 3 * WATCHDOG_S), one.journal()
    assert restarted_after(one, hang(one)) <= LIMIT_S + 1.0, one.journal()  # grpcio starts slowly
    fresh = tmp_path / "fresh"
    fresh.write_text("NOT_SERVING")
    fresh.rename(status)
    one.wait(NRestarts="2")
    assert f"unhealthy: {probe}: NOT_SERVING" in one.journal(), one.journal()
