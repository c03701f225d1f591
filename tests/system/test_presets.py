"""What presets say of daemons, held against the daemons: real ones, on their usual ports."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from open_home import WRAPPER

from tests.system.daemons import (
    BIN,
    gateway,
    hang,
    program,
    restarted_after,
    stays_up,
    target_pid,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Unit

    UnitMaker = Callable[..., Unit]

# PostgreSQL runs as a user of its own.
pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.usefixtures("home")]

WATCHDOG_S = 1.0


class Known(NamedTuple):
    """A daemon as its documentation starts it.

    preset   its name
    command  what ExecStart= runs
    service  more of its [Service] section
    """

    preset: str
    command: str
    service: dict[str, object] = {}  # noqa: RUF012 - only read


def traefik(home: Path) -> Known:
    return Known("traefik", f"{program('traefik')} --ping=true --entryPoints.web.address=:8200")


def minio(home: Path) -> Known:
    """MinIO's server code under another name: JuiceFS' S3 gateway is built on it."""
    daemon = gateway(home)
    command = re.sub(r"127\.0\.0\.1:\d+$", "127.0.0.1:9000", daemon.command)
    return Known("minio", command, {"Environment": list(daemon.env)})


def caddy(home: Path) -> Known:
    (home / "Caddyfile").write_text('{\n  auto_https off\n}\nhttp://:8201 {\n  respond "x"\n}\n')
    command = f"{program('caddy')} run --adapter caddyfile --config {home}/Caddyfile"
    return Known("caddy", command, {"Environment": f"HOME={home}"})


def nginx(home: Path) -> Known:
    (home / "nginx.conf").write_text(
        f"daemon off;\nuser root;\npid {home}/nginx.pid;\nevents {{ }}\n"
        f"http {{ access_log off; server {{ listen 80; return 200 served; }} }}\n"
    )
    return Known("nginx", f"{program('nginx')} -e {home}/error.log -c {home}/nginx.conf")


def redis(home: Path) -> Known:
    return Known("redis-server", f"{program('redis-server')} --dir {home} --save ''")


def postgres(home: Path) -> Known:
    """Its own user: it does not run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("no postgres here: script/setup installs it")
    data = "/var/lib/preset-postgres/data"
    setup = f"/bin/sh -c 'test -e {data} || {found[-1].parent}/initdb -D {data} -A trust'"
    service = {"User": "postgres", "StateDirectory": "preset-postgres", "ExecStartPre": setup}
    return Known("postgres", f"{found[-1]} -D {data} -k /tmp", service)


def prometheus(home: Path) -> Known:
    (home / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    files = f"--config.file={home}/prometheus.yml --storage.tsdb.path={home}/data"
    return Known("prometheus", f"{program('prometheus')} {files}")


def nats(home: Path) -> Known:
    return Known("nats-server", f"{program('nats-server')} -sd {home}")


def etcd(home: Path) -> Known:
    return Known("etcd", f"{program('etcd')} --data-dir {home}/etcd --log-level warn")


def gunicorn(home: Path) -> Known:
    (home / "app.py").write_text(
        "def app(environ, start):\n    start('200 OK', [])\n    return [b'served']\n"
    )
    return Known("gunicorn", f"{program('gunicorn')} -w 2 app:app", {"WorkingDirectory": home})


def apache(home: Path) -> Known:
    modules = "/usr/lib/apache2/modules"
    load = "".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core")
    )
    (home / "apache.conf").write_text(
        f"{load}ServerRoot {home}\nServerName localhost\nListen 80\nPidFile {home}/pid\n"
        f"DefaultRuntimeDir {home}\nErrorLog {home}/error.log\nDocumentRoot {home}\n"
    )
    return Known("apache2", f"{program('apache2')} -D FOREGROUND -f {home}/apache.conf")


KNOWN: dict[str, Callable[[Path], Known]] = {
    each.__name__: each
    for each in (
        traefik, minio, caddy, nginx, redis, postgres, prometheus, nats, etcd, gunicorn, apache,
    )
}  # fmt: skip


@pytest.fixture(params=list(KNOWN))
def known(request: pytest.FixtureRequest, tmp_path: Path) -> Known:
    return KNOWN[request.param](tmp_path)


def service(known: Known, *options: str) -> dict[str, object]:
    """Its [Service] section, wrapped."""
    words = " ".join((*WRAPPER, *options, "--", known.command))
    return {
        "Type": "notify",
        "ExecStart": words,
        "ExecReload": "/bin/kill -HUP $MAINPID",
        "WatchdogSec": f"{WATCHDOG_S}s",
        "TimeoutAbortSec": "200ms",
        "TimeoutStopSec": "20s",
        "TimeoutStartSec": "30s",
        "Restart": "always",
        "RestartSec": "0",
        "KillMode": "mixed",
        **known.service,
    }


def test_on_its_usual_port_a_daemon_needs_its_name_only(unit: UnitMaker, known: Known) -> None:
    """Its probes pass, a reload is one and ends nobody, a stop is clean, a hang is found."""
    one = unit(**service(known, "--preset", known.preset))
    status = one.show("StatusText")["StatusText"]
    assert "guessed" not in status, status
    target = target_pid(one)
    assert one.lab.systemctl("reload", one.name).returncode == 0
    assert stays_up(one, 2 * WATCHDOG_S), one.journal()
    assert target_pid(one) == target, "the reload has not ended it"
    assert "unhealthy" not in one.journal(), one.journal()
    assert restarted_after(one, hang(one)) <= WATCHDOG_S + 1.0, one.journal()
    one.stop()
    assert one.show("Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}


def test_it_is_known_by_the_name_of_its_command(unit: UnitMaker, known: Known) -> None:
    """`notifywrap -- traefik` is the main use: the same, without a word about it."""
    if known.preset == "minio":
        pytest.skip("the real one is not to be had here; its code is called juicefs")
    one = unit(**service(known))
    target = target_pid(one)
    assert one.lab.systemctl("reload", one.name).returncode == 0
    assert stays_up(one, 2 * WATCHDOG_S), one.journal()
    assert target_pid(one) == target, one.journal()
    assert restarted_after(one, hang(one)) <= WATCHDOG_S + 1.0, one.journal()
    one.stop()
    assert one.show("Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}


@pytest.mark.parametrize("name", ["traefik", "prometheus"])
def test_a_page_that_is_known_is_what_is_watched(
    unit: UnitMaker, name: str, tmp_path: Path
) -> None:
    """A better question than whether somebody accepts: Prometheus says 503 while it recovers."""
    one = unit(**service(KNOWN[name](tmp_path)))
    page = {
        "traefik": "http://127.0.0.1:8080/ping",
        "prometheus": "http://127.0.0.1:9090/-/healthy",
    }
    # Traefik says READY=1 before its sockets have settled: they are found all the same.
    until(lambda: page[name] in one.show("StatusText")["StatusText"])


def test_a_page_that_is_not_there_delays_a_start_and_no_more(
    unit: UnitMaker, tmp_path: Path
) -> None:
    """Traefik's /ping is off unless asked for: nobody asked us to insist on it."""
    command = f"{program('traefik')} --api.insecure=true --entryPoints.web.address=:8200"
    one = unit(**service(Known("traefik", command)))
    assert stays_up(one, 2 * WATCHDOG_S), one.journal()
    assert "/ping" not in one.show("StatusText")["StatusText"]


def test_lines_go_to_journald_with_their_fields(unit: UnitMaker) -> None:
    """`journalctl -t notifywrap -p warning` finds what mattered in all services at once."""
    options = "--log journal --preset none --ready alive"
    one = unit(ExecStart=f"{BIN}/notifywrap {options} -- /bin/sh -c 'sleep 100'", Type="notify")
    one.stop()
    only = one.journal("-t", "notifywrap", "-o", "verbose")
    assert "NOTIFYWRAP_COMMAND=/bin/sh" in only
    assert "_TRANSPORT=journal" in only
    assert "PRIORITY=6" in only
    assert re.search(r"MESSAGE=the target .*TERM", only), only
    assert "<6>" not in one.journal()


def test_without_systemd_python_journald_cannot_be_had(unit: UnitMaker, tmp_path: Path) -> None:
    """One line says what to install, and nothing is started."""
    shutil.copytree(BIN.parents[1] / "notifywrap", tmp_path / "lib" / "notifywrap")
    start = (
        f'/usr/bin/python3 -I -S -c \'import sys; sys.path.append("{tmp_path}/lib");'
        " from notifywrap.cli.__main__ import main; sys.exit(main())'"
    )
    one = unit(ExecStart=f"{start} --log journal -- /bin/true", Type="notify", start=False)
    assert one.start(check=False).returncode != 0
    assert one.show("ExecMainStatus")["ExecMainStatus"] == "2"
    assert "--log: journal needs systemd-python: install notifywrap[systemd]" in one.journal()
