"""Real daemons for the tests under the real systemd: how each is configured, started and asked."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Unit

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = REPOSITORY / ".venv/bin"
CLIENT = REPOSITORY / "tests/system/client.py"

# Port by port, so that no two daemons of one lab can be mistaken for each other.
APACHE, CADDY, GATEWAY, NATS, NATS_MONITOR, NGINX, PROMETHEUS, REDIS, TRAEFIK = range(8101, 8110)


class Daemon(NamedTuple):
    """A real daemon, configured in a directory of the test.

    command  what ExecStart= runs
    port     where it serves
    request  what a client says to it
    answer   what the client finds in the reply
    probes   what a sysadmin could name; the first is the one to recommend
    env      Environment= of its unit
    """

    command: str
    port: int
    request: str
    answer: str
    probes: tuple[str, ...]
    env: tuple[str, ...] = ()


def program(name: str) -> str:
    """Where *name* is; the test is skipped where it is not (script/setup brings all of them)."""
    path = shutil.which(name, path=f"{BIN}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        pytest.skip(f"no {name} here: script/setup installs it")
    return path


def http_get(path: str = "/") -> str:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def http(port: int, path: str = "/") -> tuple[str, ...]:
    return (f"http://127.0.0.1:{port}{path}", f"tcp:127.0.0.1:{port}")


def wrap(daemon: Daemon, *options: str) -> dict[str, Any]:
    """The [Service] section that runs it under the wrapper, as a sysadmin would write it."""
    return {
        "Type": "notify",
        "ExecStart": shlex.join([f"{BIN}/notifywrap", *options, "--"]) + f" {daemon.command}",
        "Environment": list(daemon.env),
        "WatchdogSec": "1s",
        "TimeoutAbortSec": "200ms",
        "Restart": "always",
        "RestartSec": "0",
    }


# --- what the tests do with them ------------------------------------------------------------------


def first_replies(unit: Unit, daemon: Daemon, times: int) -> list[str]:
    """What the first request after each of so many `systemctl start` is answered with."""
    words = (unit.name, str(times), str(daemon.port), daemon.request, daemon.answer)
    done = unit.lab.run("/usr/bin/python3", "-I", CLIENT, "first", *words, check=True)
    replies: list[str] = json.loads(done.stdout)
    return replies


def burst(unit: Unit, daemon: Daemon, seconds: float, clients: int) -> dict[str, int]:
    """So many clients at once, each asking again and again; how many requests were answered."""
    words = (str(daemon.port), str(seconds), str(clients), daemon.request, daemon.answer)
    done = unit.lab.run("/usr/bin/python3", "-I", CLIENT, "load", *words, check=True)
    count: dict[str, int] = json.loads(done.stdout)
    return count


def main_pid(unit: Unit) -> int:
    """Its main process as the host numbers it."""
    inside = unit.show("MainPID")["MainPID"]
    for pid in unit.pids():
        found = re.search(r"^NSpid:.*\s(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
        if found and found[1] == inside:
            return pid
    raise AssertionError(f"{unit.name} has no process {inside}: {unit.journal()}")


def target_pid(unit: Unit) -> int:
    """The daemon's own process under the wrapper, as the host numbers it."""
    wrapper = main_pid(unit)
    (pid,) = Path(f"/proc/{wrapper}/task/{wrapper}/children").read_text().split()
    return int(pid)


def stop(unit: Unit) -> float:
    """SIGSTOP all but the wrapper; returns when that was."""
    wrapper = main_pid(unit)
    moment = time.monotonic()
    for pid in unit.pids():
        if pid != wrapper:
            os.kill(pid, signal.SIGSTOP)
    return moment


def hang(unit: Unit) -> float:
    """Keep all but the wrapper from running at all, as a hang would; returns when that was.

    A frozen cgroup does not show in the state of its processes (they sleep, as servers do), and
    they act on no signal but KILL: the unit needs a short TimeoutAbortSec=.
    """
    wrapper = main_pid(unit)
    pids = unit.pids()
    frozen = unit.lab.root / f"sys/fs/cgroup{unit.show('ControlGroup')['ControlGroup']}/frozen"
    frozen.mkdir()
    (frozen / "cgroup.freeze").write_text("1")
    moment = time.monotonic()
    for pid in pids:
        if pid != wrapper:
            with suppress(ProcessLookupError):  # one of its workers that has just ended
                (frozen / "cgroup.procs").write_text(str(pid))
    return moment


def stop_workers(unit: Unit) -> float:
    """SIGSTOP the children of the daemon, not itself; returns when that was."""
    master = target_pid(unit)
    moment = time.monotonic()
    for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split():
        os.kill(int(pid), signal.SIGSTOP)
    return moment


def restarted_after(unit: Unit, since: float) -> float:
    """Wait until systemd has started it anew; seconds from *since* until then."""
    unit.wait(NRestarts="1")
    seconds = time.monotonic() - since
    unit.wait(ActiveState="active")
    return seconds


def stays_up(unit: Unit, seconds: float) -> bool:
    """Does its main process live for so long? Returns at once when it ends."""
    pidfd = os.pidfd_open(main_pid(unit))
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        ended = poll.poll(seconds * 1000)
    finally:
        os.close(pidfd)
    return not ended and unit.show("NRestarts", "ActiveState") == {
        "NRestarts": "0",
        "ActiveState": "active",
    }


def until(what: Callable[[], object], limit_s: float = 5.0) -> None:
    """Look again and again until *what* is so."""
    deadline = time.monotonic() + limit_s
    waiter = threading.Event()
    while not what():
        assert time.monotonic() < deadline, f"waited {limit_s:g} s in vain"
        waiter.wait(0.02)


# --- the daemons --------------------------------------------------------------------------------

ROUTE = """\
http:
  routers:
    route: {entryPoints: [web], rule: "PathPrefix(`/route`)", service: SERVICE}
  services:
    dead: {loadBalancer: {servers: [{url: "http://127.0.0.1:1"}]}}
"""


def traefik(home: Path) -> Daemon:
    """With one route, to itself, from a file that it watches: `set_route` changes it."""
    (home / "traefik.yml").write_text(
        f"""\
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: INFO, filePath: "{home}/traefik.log"}}
accessLog: {{filePath: "{home}/access.log"}}
entryPoints: {{web: {{address: "127.0.0.1:{TRAEFIK}"}}}}
ping: {{manualRouting: true}}
providers:
  providersThrottleDuration: 100ms  # it also does not stop within this time of its start: 2 s
  file: {{filename: "{home}/dynamic.yml", watch: true}}
"""
    )
    set_route(home)
    return Daemon(
        f"{program('traefik')} --configFile={home}/traefik.yml",
        TRAEFIK,
        http_get("/route"),
        " 200 OK",
        http(TRAEFIK, "/route"),
    )


def set_route(home: Path, service: str = "ping@internal") -> None:
    """Where Traefik's /route leads; "dead" is a server that is not there, "" no route at all."""
    text = ROUTE.replace("SERVICE", service) if service else "{}\n"
    fresh = home / "dynamic.new"
    fresh.write_text(text)
    fresh.rename(home / "dynamic.yml")  # never half a file for the one who watches


def gateway(home: Path) -> Daemon:
    """MinIO's server code: JuiceFS' S3 gateway is built on it."""
    juicefs = program("juicefs")
    meta = f"sqlite3://{home}/meta.db"
    subprocess.run(
        [juicefs, "format", "--storage=file", f"--bucket={home}/objects/", meta, "volume"],
        check=True,
        capture_output=True,
    )
    return Daemon(
        f"{juicefs} gateway --no-usage-report --cache-dir={home}/cache {meta} 127.0.0.1:{GATEWAY}",
        GATEWAY,
        http_get("/minio/health/live"),
        "Server: MinIO",
        http(GATEWAY, "/minio/health/live"),
        env=("MINIO_ROOT_USER=lab-admin", "MINIO_ROOT_PASSWORD=lab-password"),
    )


def nginx(home: Path, listen: str = "") -> Daemon:
    """A master and two workers: the workers accept, and are children of the target."""
    (home / "nginx.conf").write_text(
        f"""\
daemon off;
user root;
worker_processes 2;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ }}
http {{
    access_log {home}/access.log;
    server {{ listen 127.0.0.1:{NGINX} {listen}; location / {{ return 200 "served"; }} }}
}}
"""
    )
    return Daemon(
        f"{program('nginx')} -e {home}/error.log -c {home}/nginx.conf",
        NGINX,
        http_get(),
        "served",
        http(NGINX),
    )


def nginx_deferred(home: Path) -> Daemon:
    return nginx(home, "deferred")


def nginx_reuseport(home: Path) -> Daemon:
    return nginx(home, "reuseport")


def apache(home: Path) -> Daemon:
    """On Linux it defers accepting (TCP_DEFER_ACCEPT) unless told otherwise."""
    modules = "/usr/lib/apache2/modules"
    names = ("mpm_event", "authz_core", "status", "reqtimeout")
    load = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in names)
    (home / "apache.conf").write_text(
        f"""\
{load}
ServerRoot {home}
ServerName localhost
Listen 127.0.0.1:{APACHE}
PidFile {home}/apache.pid
DefaultRuntimeDir {home}
ErrorLog {home}/error.log
CustomLog {home}/access.log "%h %s %r"
User www-data
Group www-data
<Location />
    SetHandler server-status
</Location>
"""
    )
    return Daemon(
        f"{program('apache2')} -D FOREGROUND -f {home}/apache.conf",
        APACHE,
        http_get("/?auto"),
        "ServerUptime",
        http(APACHE, "/?auto"),
    )


def redis(home: Path) -> Daemon:
    command = (
        f"{program('redis-server')} --bind 127.0.0.1 --port {REDIS} --dir {home} --appendonly no"
        f" --save '' --unixsocket {home}/redis.sock"
    )
    probes = (
        f"exec:{program('redis-cli')} -h 127.0.0.1 -p {REDIS} ping",
        f"tcp:127.0.0.1:{REDIS}",
        f"unix:{home}/redis.sock",
    )
    return Daemon(command, REDIS, "PING\r\n", "+PONG", probes)


def prometheus(home: Path) -> Daemon:
    (home / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    return Daemon(
        f"{program('prometheus')} --config.file={home}/prometheus.yml"
        f" --storage.tsdb.path={home}/data --web.listen-address=127.0.0.1:{PROMETHEUS}",
        PROMETHEUS,
        http_get("/-/ready"),
        " 200 OK",
        http(PROMETHEUS, "/-/ready"),
    )


def caddy(home: Path) -> Daemon:
    """On every address, as Caddy does unless told otherwise."""
    (home / "Caddyfile").write_text(
        f"""\
{{
    admin off
    auto_https off
}}
http://:{CADDY} {{
    respond "served"
}}
"""
    )
    return Daemon(
        f"{program('caddy')} run --adapter caddyfile --config {home}/Caddyfile",
        CADDY,
        http_get(),
        "served",
        http(CADDY),
        env=(f"HOME={home}",),
    )


def caddy_respond(home: Path) -> Daemon:
    """`caddy respond`, with the admin port that it opens besides."""
    return Daemon(
        f"{program('caddy')} respond --listen 127.0.0.1:{CADDY} --body served",
        CADDY,
        http_get(),
        "served",
        http(CADDY),
        env=(f"HOME={home}",),
    )


def nats(home: Path) -> Daemon:
    """Speaks first: INFO comes as soon as a connection is made."""
    return Daemon(
        f"{program('nats-server')} -a 127.0.0.1 -p {NATS} -m {NATS_MONITOR} -sd {home}",
        NATS,
        "PING\r\n",
        "PONG",
        (f"http://127.0.0.1:{NATS_MONITOR}/healthz", f"tcp:127.0.0.1:{NATS}"),
    )


DAEMONS: dict[str, Callable[[Path], Daemon]] = {
    "traefik": traefik,
    "gateway": gateway,
    "nginx": nginx,
    "nginx-deferred": nginx_deferred,
    "nginx-reuseport": nginx_reuseport,
    "apache": apache,
    "redis": redis,
    "prometheus": prometheus,
    "caddy": caddy,
    "caddy-respond": caddy_respond,
    "nats": nats,
}
