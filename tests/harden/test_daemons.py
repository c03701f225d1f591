"""`notifywrap harden` on real daemons, each from the plain unit that people write for it.

The numbers of the README's table: each test says what was found.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harden.conftest import harden, report
from tests.system.daemons import program
from tests.units.applications import HOME, install_application
from tests.units.machine import ASK
from tests.units.test_minio import GATEWAY, PASSWORD, S3, USER, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(300)]

UNIT = """\
[Unit]
After=network.target
[Service]
Type=notify
ExecStart=/usr/local/bin/notifywrap {options} -- {command}
WatchdogSec=30s
KillMode=mixed
{more}
"""
GET = f"/usr/bin/python3 -I {ASK} get"
OK = "grep -q '\"status\": 200'"
APP = """\
import json, time


def app(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps({"path": environ["PATH_INFO"], "time": time.time()}).encode()]
"""


def install(place: Machine, name: str, command: str, *, options: str = "", more: str = "") -> str:
    """A unit of this name; the name."""
    text = UNIT.format(options=options, command=command, more=more)
    place.lab.install(name, text)
    return name


def test_minio(machine: Callable[..., Machine]) -> None:
    """Signed PUT and GET in each round: a health page alone never saw that a PUT fails."""
    place = machine("minio", minio="juicefs")
    prepare(place)
    more = (
        f"User=minio-user\nStateDirectory=minio\nWorkingDirectory=/var/lib/minio\n"
        f"Environment=HOME=/tmp MINIO_ROOT_USER={USER} MINIO_ROOT_PASSWORD={PASSWORD}"
    )
    probe = "--probe http://127.0.0.1:9000/minio/health/ready"
    unit = install(place, "gateway.service", GATEWAY, options=probe, more=more)
    exercise = shlex.join([sys.executable, str(S3), USER, PASSWORD]) + " | grep -qx same"
    found = harden(place, unit, "--exercise", exercise)
    report(found)
    assert found["verified"]
    assert found["exposure"]["before"] >= 9.0
    assert found["exposure"]["after"] <= 1.5
    assert found["drill"]["after"] <= 7, found["drill"]["left"]


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Machine:
    """Of nobody's units."""
    return machine("notifywrap@")


def test_redis(place: Machine) -> None:
    """A snapshot is written by a child: a sandbox without fork serves, and saves nothing."""
    command = f"{program('redis-server')} --port 6379 --dir /var/lib/redis"
    (place.root / "var/lib/redis").mkdir(exist_ok=True)
    place.lab.run("chown", "redis:redis", "/var/lib/redis", check=True)
    more = "User=redis\nGroup=redis\nStateDirectory=redis"
    unit = install(place, "cache.service", command, more=more)
    save = (
        "redis-cli set key value && redis-cli bgsave && for i in $(seq 100); do"
        " redis-cli info persistence | grep -q rdb_bgsave_in_progress:0 && break; sleep 0.05; done;"
        " redis-cli info persistence | grep -q rdb_last_bgsave_status:ok"
    )
    found = harden(place, unit, "--exercise", save)
    report(found)
    assert found["verified"]
    assert found["exposure"]["after"] <= 1.2
    assert found["drill"]["after"] <= 10, found["drill"]["left"]


def test_nginx(place: Machine) -> None:
    """With a root master, as Debian has it: it starts as root and gives that up by itself."""
    conf = Path("/etc/nginx/nginx.conf").read_text().replace("/run/nginx.pid", "/run/nginx/pid")
    (place.root / "etc/nginx/plain.conf").write_text(conf)
    command = f"{program('nginx')} -c /etc/nginx/plain.conf -g 'daemon off;'"
    probe = "--probe http://127.0.0.1/"
    more = "LogsDirectory=nginx\nRuntimeDirectory=nginx"
    unit = install(place, "web.service", command, options=probe, more=more)
    words = ("--copy", "/var/lib/nginx")
    found = harden(place, unit, *words, "--exercise", f"{GET} http://127.0.0.1/ | {OK}")
    report(found)
    assert found["verified"]
    assert found["exposure"]["after"] <= 2.5
    assert found["drill"]["after"] <= 7, found["drill"]["left"]


def test_postgresql(place: Machine) -> None:
    """Sessions are processes, memory is shared, and it refuses to be root."""
    if not Path("/etc/postgresql/15/main/postgresql.conf").exists():
        pytest.skip("no cluster 15/main here: Debian 12's postgresql makes it (script/setup)")
    home = "/var/lib/postgresql/15/main"
    command = (
        f"/usr/lib/postgresql/15/bin/postgres -D {home}"
        " -c config_file=/etc/postgresql/15/main/postgresql.conf"
    )
    more = f"User=postgres\nRuntimeDirectory=postgresql\nReadWritePaths={home}"
    unit = install(place, "database.service", command, options="--ready notify", more=more)
    query = (
        "runuser -u postgres -- psql -XAtqc 'create table if not exists t as select 1;"
        " set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0;"
        " set parallel_tuple_cost = 0; select sum(n) from generate_series(1, 100000) n'"
    )
    found = harden(place, unit, "--exercise", query)
    report(found)
    assert found["verified"]
    assert found["exposure"]["after"] <= 1.1
    assert found["drill"]["after"] <= 7, found["drill"]["left"]


def test_gunicorn(place: Machine) -> None:
    """An application of two workers, from a unit without even a user."""
    install_application_once(place)
    command = f"/{HOME}/venv/bin/gunicorn --workers 2 --bind 127.0.0.1:8000 app:app"
    more = f"WorkingDirectory=/{HOME}\nStateDirectory=app\nEnvironment=HOME=/var/lib/app"
    probe = "--probe http://127.0.0.1:8000/"
    unit = install(place, "app.service", command, options=probe, more=more)
    found = harden(place, unit, "--exercise", f"{GET} http://127.0.0.1:8000/page | {OK}")
    report(found)
    assert found["verified"]
    assert found["exposure"]["before"] >= 9.0
    assert found["exposure"]["after"] <= 1.0
    assert found["drill"]["after"] <= 9, found["drill"]["left"]


def install_application_once(place: Machine) -> None:
    if not (place.root / HOME).exists():
        (place.root / "etc/gunicorn").mkdir(exist_ok=True)
        install_application(place, "gunicorn", APP)
