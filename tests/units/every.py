"""Every unit of units/ with its daemon, for what all of them promise: how each is made ready, and
asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from notifywrap.testing.lab import unavailable
from tests.system.daemons import program
from tests.units import test_gunicorn, test_minio, test_nats, test_template, test_uvicorn
from tests.units.applications import install_application
from tests.units.machine import Machine
from tests.units.promises import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["EVERY", "Service", "boot"]

HTTP = "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Service(NamedTuple):
    """One folder of units/, with what a client says to it and hears.

    where     a port of 127.0.0.1, or the path of a socket
    words     a client says
    answer    the reply has this in it
    programs  name in /usr/local/bin -> command
    needs     commands that must be there
    prepare   what its administrator does before the first start
    """

    unit: str
    where: int | str
    words: str
    answer: str
    programs: Mapping[str, str] = {}
    needs: tuple[str, ...] = ()
    prepare: Callable[[Machine], object] = lambda _: None

    def answers(self, place: Machine) -> bool:
        return self.answer in say(place, self.where, self.words, self.answer)


def edit(place: Machine, path: str, text: str) -> None:
    file = place.root / "etc" / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    place.lab.systemctl("daemon-reload", check=True)


def _minio(place: Machine) -> None:
    test_minio.prepare(place)
    path = f"systemd/system/{test_minio.UNIT}"
    shipped = (place.root / "etc" / path).read_text()
    edit(place, path, shipped.replace(test_minio.SHIPPED, test_minio.GATEWAY))


def _nats(place: Machine) -> None:
    edit(place, "nats/token", f"{test_nats.TOKEN}\n")


def _traefik(place: Machine) -> None:
    """It does not stop within this time of its start, 2 s by default."""
    path = "traefik/traefik.yml"
    shipped = (place.root / "etc" / path).read_text()
    quick = "\nproviders:\n  providersThrottleDuration: 100ms\n"
    edit(place, path, shipped.replace("\nproviders:\n", quick))


_TRAEFIK = Service(
    "traefik.service", 80, HTTP.format("/ping"), " 200 ", {"traefik": "traefik"}, prepare=_traefik
)
EVERY = {
    "traefik": _TRAEFIK,
    "traefik-strict": _TRAEFIK,
    "traefik-ports": _TRAEFIK,
    "minio": Service(
        "minio.service", 9000, HTTP.format("/minio/health/live"), " 200 ",
        {"minio": "juicefs"}, prepare=_minio,
    ),
    "caddy": Service(
        "caddy.service", 80, HTTP.format("/ping"), " 200 ", {"../../bin/caddy": "caddy"}
    ),
    "nginx": Service("nginx.service", 80, HTTP.format("/"), "HTTP/1.1", needs=("nginx",)),
    "redis": Service("redis-server.service", 6379, "PING\r\n", "+PONG", needs=("redis-server",)),
    # What is no message of its protocol is answered with the end of the connection.
    "postgresql": Service(
        "postgresql@15-main.service", 5432, "no message", "", needs=("pg_ctlcluster",)
    ),
    "prometheus": Service(
        "prometheus.service", 9090, HTTP.format("/-/ready"), " 200 ", needs=("prometheus",)
    ),
    "nats": Service(
        "nats.service", test_nats.PORT, f"{test_nats.HELLO}PING\r\n", "PONG",
        {"nats-server": "nats-server"}, prepare=_nats,
    ),
    "gunicorn": Service(
        test_gunicorn.UNIT, test_gunicorn.PATH, test_gunicorn.REQUEST, "edition one",
        prepare=lambda place: install_application(place, "gunicorn", test_gunicorn.APP),
    ),
    "uvicorn": Service(
        test_uvicorn.UNIT, test_uvicorn.PATH, test_uvicorn.REQUEST, "edition one",
        prepare=lambda place: install_application(place, "uvicorn", test_uvicorn.APP),
    ),
    "notifywrap@": Service(
        test_template.UNIT, test_template.PORT, "PING\r\n", "+PONG", needs=("redis-server",),
        prepare=lambda place: edit(place, test_template.SETTINGS, test_template.JAILED),
    ),
}  # fmt: skip


def boot(folder: str) -> Machine:
    """Its machine, ready for `systemctl start`; skips where there can be none."""
    reason = unavailable()
    if reason is not None:
        pytest.skip(f"no systemd can be booted here: {reason}")
    service = EVERY[folder]
    for command in service.needs:
        program(command)
    paths = {name: program(command) for name, command in service.programs.items()}
    place = Machine(folder, paths)
    service.prepare(place)
    return place
