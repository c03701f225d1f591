"""units/gunicorn, copied into /etc as it stands: a WSGI application under a real gunicorn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import main_pid, restarted_after, stop_workers, target_pid, until
from tests.units.applications import HOME, SECRET, install_application
from tests.units.promises import QUICK, assert_unprivileged, say, was_ended_by_watchdog
from tests.units.table import assert_as_in_readme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNIT = "gunicorn@example.service"
SOCKET = "gunicorn@example.socket"
PATH = "/run/gunicorn/example.sock"
REQUEST = "GET / HTTP/1.0\r\n\r\n"
APP = """\
import os, tempfile

SECRET = os.environ["SECRET_KEY"]


def app(environ, start_response):
    with tempfile.TemporaryFile() as file:
        file.write(b"a large body")
    start_response("200 OK", [])
    return [f"edition one of {os.getpid()}, secret of {len(SECRET)}".encode()]
"""


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Machine:
    place = machine("gunicorn")
    install_application(place, "gunicorn", APP)
    return place


@pytest.fixture(scope="module")
def service(place: Machine) -> Iterator[Unit]:
    """The application, running: the tests leave it so."""
    with place.edited(f"systemd/system/{UNIT}.d/quick.conf", QUICK), place.started(UNIT) as unit:
        unit.start()
        yield unit


def ask(place: Machine) -> str:
    return say(place, PATH, REQUEST)


def workers(unit: Unit) -> set[str]:
    arbiter = target_pid(unit)
    return set(Path(f"/proc/{arbiter}/task/{arbiter}/children").read_text().split())


def test_check_and_verify_find_nothing(place: Machine) -> None:
    """Of the template and of what it becomes."""
    assert place.check("gunicorn@.service") == ""
    assert place.check(UNIT) == ""


def test_whoever_connects_starts_it_and_waits(place: Machine) -> None:
    """The socket alone is enough, and stopping both ends all."""
    with place.started(UNIT) as unit:
        place.lab.systemctl("start", SOCKET, check=True)
        assert "edition one" in ask(place)
        unit.wait(ActiveState="active")
        place.lab.systemctl("stop", SOCKET, check=True)
        unit.wait(ActiveState="inactive", Result="success")
        assert unit.pids() == []
        assert not (place.root / PATH[1:]).exists()


def test_it_has_no_privilege(place: Machine, service: Unit) -> None:
    """All of its workers are as confined as it is."""
    assert_unprivileged(service)
    until(lambda: len(workers(service)) == 3)
    for pid in workers(service):
        assert re.search(r"^Seccomp:\s2$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert "edition one" in ask(place)


def test_the_secret_is_the_applications_alone(place: Machine, service: Unit) -> None:
    """Not in `systemctl show`, not in the wrapper's environment, not in the journal."""
    assert f"secret of {len(SECRET)}" in ask(place)
    assert SECRET not in place.lab.systemctl("show", UNIT).stdout
    assert SECRET not in service.journal()
    assert SECRET.encode() not in Path(f"/proc/{main_pid(service)}/environ").read_bytes()
    assert SECRET.encode() in Path(f"/proc/{target_pid(service)}/environ").read_bytes()


def test_reload_brings_new_code_without_a_new_start(place: Machine, service: Unit) -> None:
    """Workers are replaced one after the other; a mistake in the code replaces none."""
    app = place.root / HOME / "app.py"
    arbiter, before = target_pid(service), workers(service)
    app.write_text("raise ValueError\n")
    assert place.lab.systemctl("reload", UNIT).returncode != 0
    assert "ValueError" in service.journal()
    assert workers(service) == before
    app.write_text(APP.replace("edition one", "edition two"))
    assert place.lab.systemctl("reload", UNIT).returncode == 0, service.journal()
    until(lambda: not workers(service) & before, 20.0)
    assert "edition two" in ask(place)
    assert target_pid(service) == arbiter
    app.write_text(APP)
    assert place.lab.systemctl("reload", UNIT).returncode == 0
    assert service.show("NRestarts") == {"NRestarts": "0"}


def test_what_an_intruder_could_do(place: Machine, service: Unit) -> None:
    """The numbers of the README's table. gunicorn forks, and Python runs whatever it can read."""
    left = {"write state dir", "write acme.json", "start a thread", "socket AF_INET"}
    left |= {"connect backend", "connect other local port", "read /etc/passwd"}
    left |= {"fork a process", "exec python"}
    assert_as_in_readme(place, UNIT, "gunicorn", left)


def test_workers_that_hang_are_acted_on(place: Machine, service: Unit) -> None:
    """The arbiter is well, and no client is answered: gunicorn's own READY=1 would know nothing."""
    until(lambda: len(workers(service)) == 3)
    restarted_after(service, stop_workers(service))
    assert was_ended_by_watchdog(service), service.journal()
    assert "edition one" in ask(place)
