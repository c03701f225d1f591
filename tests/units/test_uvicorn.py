"""units/uvicorn, copied into /etc as it stands: an ASGI application under a real uvicorn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import hang, main_pid, restarted_after, target_pid
from tests.units.applications import HOME, SECRET, install_application
from tests.units.promises import QUICK, assert_unprivileged, say, was_ended_by_watchdog
from tests.units.table import assert_as_in_readme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNIT = "uvicorn@example.service"
SOCKET = "uvicorn@example.socket"
PATH = "/run/uvicorn/example.sock"
REQUEST = "GET / HTTP/1.0\r\n\r\n"
APP = """\
import asyncio, os, tempfile, time

SECRET = os.environ["SECRET_KEY"]


def work():
    with tempfile.TemporaryFile() as file:
        return file.write(b"a large body")


async def app(scope, receive, send):
    while scope["type"] == "lifespan":
        asked = (await receive())["type"]
        await send({"type": f"{asked}.complete"})
        if asked == "lifespan.shutdown":
            return
    if scope["path"] == "/block-the-loop":
        time.sleep(1000)
    wrote = await asyncio.to_thread(work)
    text = f"edition one, wrote {wrote}, secret of {len(SECRET)}"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": text.encode()})
"""


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Machine:
    place = machine("uvicorn")
    install_application(place, "uvicorn", APP)
    return place


@pytest.fixture(scope="module")
def service(place: Machine) -> Iterator[Unit]:
    """The application, running: the tests leave it so."""
    with place.edited(f"systemd/system/{UNIT}.d/quick.conf", QUICK), place.started(UNIT) as unit:
        unit.start()
        yield unit


def ask(place: Machine) -> str:
    return say(place, PATH, REQUEST)


def test_check_and_verify_find_nothing(place: Machine) -> None:
    """Of the template and of what it becomes."""
    assert place.check("uvicorn@.service") == ""
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


def test_it_has_no_privilege(service: Unit) -> None:
    """A user of systemd's making, which owns nothing but its state."""
    assert_unprivileged(service)


def test_the_secret_is_the_applications_alone(place: Machine, service: Unit) -> None:
    """Not in `systemctl show`, not in the wrapper's environment, not in the journal."""
    assert f"wrote 12, secret of {len(SECRET)}" in ask(place)
    assert SECRET not in place.lab.systemctl("show", UNIT).stdout
    assert SECRET not in service.journal()
    assert SECRET.encode() not in Path(f"/proc/{main_pid(service)}/environ").read_bytes()
    assert SECRET.encode() in Path(f"/proc/{target_pid(service)}/environ").read_bytes()


def test_a_restart_brings_new_code_and_refuses_nobody(place: Machine, service: Unit) -> None:
    """uvicorn cannot reload: HUP would end it, so the unit has no ExecReload=."""
    assert service.show("CanReload") == {"CanReload": "no"}
    app = place.root / HOME / "app.py"
    app.write_text(APP.replace("edition one", "edition two"))
    place.lab.systemctl("restart", "--no-block", UNIT, check=True)
    assert "HTTP/1.1 200 OK" in ask(place), service.journal()
    service.wait(Job="", ActiveState="active")
    assert "edition two" in ask(place)
    app.write_text(APP)
    assert place.lab.systemctl("restart", UNIT).returncode == 0


def test_what_an_intruder_could_do(place: Machine, service: Unit) -> None:
    """The numbers of the README's table. Python runs whatever it can read."""
    left = {"write state dir", "write acme.json", "start a thread", "socket AF_INET"}
    left |= {"connect backend", "connect other local port", "read /etc/passwd", "exec python"}
    assert_as_in_readme(place, UNIT, "uvicorn", left)


def test_a_loop_that_is_blocked_is_acted_on(place: Machine, service: Unit) -> None:
    """The process is there, its socket too, and no client is answered."""
    say(place, PATH, "GET /block-the-loop HTTP/1.0\r\n\r\n")  # until systemd ends it
    service.wait(NRestarts="1", ActiveState="active")
    assert was_ended_by_watchdog(service), service.journal()
    assert "edition one" in ask(place)


def test_a_process_that_hangs_is_acted_on(place: Machine, service: Unit) -> None:
    """Frozen, it acts on no signal but KILL."""
    place.lab.systemctl("restart", UNIT, check=True)
    place.lab.systemctl("reset-failed", UNIT)
    restarted_after(service, hang(service))
    assert "edition one" in ask(place)
