"""A `.socket` unit before a wrapped service: the target finds what it would find without us."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hosts import NOTIFYWRAP, PYTHON, TARGETS, poll

from tests.system.daemons import main_pid, target_pid

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit

pytestmark = pytest.mark.systemd

# Says it, and prints what comes back: the connection starts the service.
CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as client:
    client.sendall(sys.argv[2].encode())
    print(client.recv(100).decode())
"""


@pytest.fixture
def activated(
    lab: Lab, unit: Callable[..., Unit], port: str, another_port: str
) -> Callable[..., Unit]:
    """Makes a service that two named sockets start."""

    def make(*options: str, command: str = "", after: str = "0.3", **settings: Any) -> Unit:
        target = command or " ".join((*PYTHON, str(TARGETS / "handed.py"), after))
        sockets = [unit("[Socket]\nListenStream=1\n", start=False, suffix=".socket") for _ in "12"]
        names = ("web", "admin")[: 1 if command else 2]
        service = unit(
            Type="notify",
            Sockets=" ".join(one.name for one, _ in zip(sockets, names, strict=False)),
            ExecStart=" ".join((NOTIFYWRAP, *options, "--", target)),
            WatchdogSec="30s",
            start=False,
            **settings,
        )
        for one, name, where in zip(sockets, names, (port, another_port), strict=False):
            lab.install(
                one.name,
                f"[Socket]\nListenStream=127.0.0.1:{where}\nFileDescriptorName={name}\n"
                f"Service={service.name}\n",
            )
            one.start()
        return service

    return make


def say(lab: Lab, port: str, text: str) -> str:
    return lab.run("/usr/bin/python3", "-I", "-c", CLIENT, port, text, check=True).stdout.strip()


def sockets_of(pid: int) -> set[str]:
    """The listening sockets among the fds of a process, by inode."""
    links = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass  # closed meanwhile
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"} & links


@pytest.mark.parametrize("kind", ["zero-config", "tcp:{}"])
def test_connection_that_starts_it_is_served(
    lab: Lab, activated: Callable[..., Unit], port: str, another_port: str, kind: str
) -> None:
    """Ready is when it accepts, not when the socket is there: that was there before."""
    options = () if kind == "zero-config" else ("--probe", kind.format(port))
    service = activated(*options)
    assert say(lab, port, "hello") == "hello"
    service.wait(ActiveState="active")
    journal = service.journal()
    assert re.search(r"handed 2: (web:admin|admin:web)$", journal, re.MULTILINE), journal
    assert journal.index("serving") < journal.index("notifywrap: ready after"), journal
    assert say(lab, another_port, "too") == "too"


@pytest.mark.slow
def test_wrapper_keeps_no_copy_and_the_next_connection_starts_it_again(
    lab: Lab, activated: Callable[..., Unit], port: str
) -> None:
    """A copy would keep connections waiting in a queue that nobody empties."""
    service = activated(after="0")
    assert say(lab, port, "hello") == "hello"
    service.wait(ActiveState="active")
    assert sockets_of(main_pid(service)) == set()
    assert len(sockets_of(target_pid(service))) == 2
    first = service.show("MainPID")
    assert say(lab, port, "end") == "end"
    service.wait(ActiveState="inactive")
    assert say(lab, port, "again") == "again"
    service.wait(ActiveState="active")
    assert service.show("MainPID") != first


def test_inherited_listener_is_no_evidence(
    lab: Lab, activated: Callable[..., Unit], port: str
) -> None:
    """`listen:` would be fulfilled before the target has run its first instruction."""
    service = activated("--probe", f"listen:{port}", after="0", TimeoutStartSec="30s")
    assert say(lab, port, "hello") == "hello"
    status = poll(
        lambda: service.show("StatusText")["StatusText"],
        lambda text: "inherited" in text,
        what="a STATUS that says so",
        story=service.journal,
    )
    assert f"listen:{port}" in status
    assert service.show("ActiveState")["ActiveState"] == "activating"


@pytest.mark.slow
def test_gunicorn_serves_on_the_socket_of_systemd(
    lab: Lab, activated: Callable[..., Unit], port: str
) -> None:
    """A real server that speaks sd_listen_fds(3): its workers accept, not the target itself."""
    gunicorn = Path(NOTIFYWRAP).with_name("gunicorn")
    if not gunicorn.exists():
        pytest.skip("no gunicorn here: script/setup installs it")
    service = activated(
        "--probe",
        f"http://127.0.0.1:{port}/",
        command=f"{gunicorn} --workers 2 --chdir {TARGETS} hello:app",
        RuntimeDirectory="gunicorn-test",
    )
    request = "GET / HTTP/1.0\r\n\r\n"
    assert "200 OK" in say(lab, port, request)
    service.wait(ActiveState="active")
    assert sockets_of(main_pid(service)) == set()
