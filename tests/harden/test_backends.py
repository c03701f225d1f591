"""A service that needs nothing of the network but a backend, before and after harden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.harden.conftest import harden, report
from tests.system.daemons import program
from tests.units.applications import HOME, install_application
from tests.units.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(300)]

APP = """\
import socket


def app(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/health":
        return [b"well"]
    return [b"visit", *map(count, (6379, 6380))]


def count(port):
    with socket.create_connection(("127.0.0.1", port), 5) as redis:
        redis.sendall(b"INCR visits\\r\\n")
        return redis.recv(100)
"""
SOCKET = "/run/app/socket"
UNIT = f"""\
[Service]
Type=notify
ExecStart=/usr/local/bin/notifywrap --probe http+unix://%%2Frun%%2Fapp%%2Fsocket/health -- \\
    /{HOME}/venv/bin/gunicorn --bind unix:{SOCKET} app:app
WorkingDirectory=/{HOME}
RuntimeDirectory=app
StateDirectory=app
Environment=HOME=/var/lib/app
KillMode=mixed
"""
REDIS = f"""\
[Service]
ExecStart={program("redis-server")} --port %i --save ""
"""
BACKENDS = ("redis@6379.service", "redis@6380.service")
VISIT = f"curl -sf --unix-socket {SOCKET} http://app/visit"
SOCKETS = ("app-backend-6379.socket", "app-backend-6380.socket")
PROXIES = ("app-backend-6379.service", "app-backend-6380.service")
HOME_OF_UNITS = "/etc/systemd/system"
MANY = """\
import socket, sys
taken = []
for _ in range(300):
    one = socket.create_connection(("127.0.0.1", 6379), 5)
    one.sendall(b"PING\\r\\n")
    assert one.recv(100).startswith(b"+PONG"), len(taken)
    taken.append(one)
"""


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Iterator[Machine]:
    """With two redis, which run the whole time: not for the other tests of its folder."""
    machine("notifywrap@")  # or the reason why there is none
    place = Machine("notifywrap@", {})
    try:
        prepare(place)
        yield place
    finally:
        place.lab.down()


def prepare(place: Machine) -> None:
    (place.root / "etc/gunicorn").mkdir(exist_ok=True)
    install_application(place, "gunicorn", APP)
    place.lab.install("redis@.service", REDIS)
    place.lab.install("app.service", UNIT)
    place.lab.systemctl("start", *BACKENDS, check=True)


@pytest.fixture(scope="module")
def found(place: Machine) -> dict[str, Any]:
    """What harden says of it."""
    before = [look(place, each) for each in BACKENDS]
    found = harden(place, "app.service", "--exercise", f"{VISIT} | grep -q '^visit:'")
    assert [look(place, each) for each in BACKENDS] == before, "it has touched another service"
    return found


def look(place: Machine, unit: str) -> dict[str, str]:
    return place.lab.show(unit, "InvocationID", "FragmentPath", "DropInPaths")


@pytest.fixture
def installed(place: Machine, found: dict[str, Any]) -> Iterator[Machine]:
    """As the drop-in says, and undone as it says."""
    home = place.root / "etc/systemd/system"
    before = {path.relative_to(home) for path in home.rglob("*")}
    for name, text in found["files"].items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text)
    place.lab.systemctl("daemon-reload", check=True)
    yield place
    place.lab.systemctl("stop", "app.service")
    lines = (home / "app.service.d/50-harden.conf").read_text().partition("# To undo:\n")[2]
    for line in lines.splitlines():
        if not line.startswith("#   "):
            break
        place.lab.run("sh", "-c", line.removeprefix("#   "), check="restart" not in line)
    assert {path.relative_to(home) for path in home.rglob("*")} == before | {
        path.relative_to(home) for path in home.glob("app.service.d")
    }


def test_its_backend_is_all_that_is_left_of_the_network(found: dict[str, Any]) -> None:
    """PrivateNetwork= alone fails, and no search over directives finds more."""
    kept = {each["name"]: each["settings"] for each in found["kept"]}
    wanted = ["PrivateNetwork=yes", f"JoinsNamespaceOf={' '.join(SOCKETS)}"]
    assert kept["PrivateNetwork"] == wanted
    rejected = [each for each in found["rejected"] if each["name"] == "PrivateNetwork"]
    assert [each["settings"] for each in rejected] == [["PrivateNetwork=yes"]]
    assert "# Not PrivateNetwork=yes alone: " in found["files"]["app.service.d/50-harden.conf"]
    report(found)
    assert found["verified"]
    assert found["exposure"]["after"] <= 0.6
    assert found["drill"]["after"] <= 9, found["drill"]["left"]


def test_it_works_when_it_is_installed(installed: Machine) -> None:
    """Next to its backend, of which nothing was changed."""
    lab = installed.lab
    for _ in range(2):  # and after a restart, when the sockets are there already
        lab.systemctl("restart", "app.service", check=True)
        assert lab.run("sh", "-c", VISIT, check=True).stdout.startswith("visit:")
    for proxy in PROXIES:  # it lives on, and says nothing of READY=1
        lab.wait(proxy, ActiveState="active", SubState="running")
    pid = lab.show("app.service", "MainPID")["MainPID"]
    seen = lab.run("nsenter", "-t", pid, "-n", "ss", "-Hltn", check=True).stdout
    there = sorted(line.split()[3] for line in seen.splitlines())
    assert there == ["127.0.0.1:6379", "127.0.0.1:6380"]
    units = [f"{HOME_OF_UNITS}/{name}" for name in (*SOCKETS, "app.service")]
    said = lab.run("systemd-analyze", "verify", *units)
    assert (said.returncode, said.stdout) == (0, "")
    said = lab.run(
        "/usr/local/bin/notifywrap", "check", *[f"{HOME_OF_UNITS}/{each}" for each in PROXIES]
    )
    assert (said.returncode, said.stdout) == (0, ""), said.stdout


def test_a_pool_of_connections_fits_through_the_proxy(installed: Machine) -> None:
    """By default it has descriptors for some 170."""
    lab = installed.lab
    lab.systemctl("restart", "app.service", check=True)
    pid = lab.show("app.service", "MainPID")["MainPID"]
    lab.run("nsenter", "-t", pid, "-n", "/usr/bin/python3", "-I", "-c", MANY, check=True)


def test_what_is_beside_it_starts_and_ends_with_it(installed: Machine) -> None:
    """Sockets that stay would keep its /tmp for the next start, and its network."""
    lab = installed.lab
    lab.systemctl("start", "app.service", check=True)
    lab.run("sh", "-c", VISIT, check=True)
    lab.systemctl("restart", SOCKETS[0], check=True)
    lab.wait("app.service", ActiveState="active")
    assert lab.run("sh", "-c", VISIT, check=True).stdout.startswith("visit:")
    lab.systemctl("stop", "app.service", check=True)
    for unit in (*SOCKETS, *PROXIES):
        lab.wait(unit, ActiveState="inactive")


def test_an_installed_result_is_undone_before_the_next_search(installed: Machine) -> None:
    """A round that joined its sockets would be in the /tmp of the real service."""
    installed.lab.systemctl("stop", "app.service", check=True)
    said = installed.lab.run("/usr/local/bin/notifywrap", "harden", "app.service")
    assert said.returncode == 2
    assert "50-harden.conf" in said.stdout
    assert "undo the former result first" in said.stdout
