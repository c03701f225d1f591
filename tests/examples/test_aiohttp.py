"""examples/aiohttp under its own unit file and the real systemd."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from notifywrap.testing.lab import LabError
from tests.conftest import REPOSITORY
from tests.examples.web import Request, ask, until_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit

    Example = Callable[..., Unit]

CLIENT = REPOSITORY / "tests/system/client.py"
PORT = 8080
REQUEST = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
DEMO = {"Environment": f"HOST=127.0.0.1 PORT={PORT} DEMO=yes"}
SOON = {"WatchdogSec": "2s", "RestartSec": "100ms"}
GRANT_S = 4.0


@pytest.mark.systemd
def test_life_under_systemd(example: Example, lab: Lab):
    """It serves when it says so, reads its file anew, keeps the old one when the new one is bad,
    and ends cleanly."""
    one = example("aiohttp")
    assert ask(lab, PORT) == (200, "hello")
    assert status_of(one) == f"serving on 127.0.0.1 port {PORT}"
    config = lab.root / "opt/aiohttp/config.toml"
    config.write_text('greeting = "good morning"')
    lab.systemctl("reload", one.name, check=True)
    until_in(lambda: ask(lab, PORT).text, "good morning")
    config.write_text("greeting =")
    lab.systemctl("reload", one.name, check=True)
    until_in(lambda: status_of(one), "reload failed: TOMLDecodeError")
    assert one.show("ActiveState") == {"ActiveState": "active"}
    assert ask(lab, PORT).text == "good morning"
    one.stop()
    assert one.show("Result", "NRestarts") == {"Result": "success", "NRestarts": "0"}


@pytest.mark.systemd
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_first_request_after_each_start_is_answered(example: Example, lab: Lab):
    """20 of 20: what is After= this unit connects at that very moment."""
    one = example("aiohttp", start=False, StartLimitIntervalSec="0")
    words = ("first", one.name, "20", str(PORT), REQUEST, "hello")
    said = lab.run(sys.executable, str(CLIENT), *words, check=True, timeout_s=280).stdout
    assert ["hello" in reply for reply in json.loads(said)] == [True] * 20


@pytest.mark.systemd
@pytest.mark.slow
def test_blocked_loop_is_restarted_and_serves_again(example: Example, lab: Lab):
    """The commonest hang: something that blocks, in a handler."""
    one = example("aiohttp", **DEMO, **SOON)
    Request(lab, PORT, "/demo/block-the-loop").close()
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30)
    assert "Watchdog timeout" in one.journal()
    assert ask(lab, PORT) == (200, "hello")


@pytest.mark.systemd
@pytest.mark.slow
@pytest.mark.parametrize("how", ["keep-the-lock", "end-the-collector"])
def test_background_task_that_is_stuck_or_dead_is_named(example: Example, lab: Lab, how: str):
    """Every request is answered, and the numbers in the answers are of yesterday."""
    one = example("aiohttp", **DEMO, **SOON)
    assert ask(lab, PORT, f"/demo/{how}").status == 200
    assert ask(lab, PORT) == (200, "hello")
    until_in(lambda: status_of(one), "unhealthy: collector silent for")
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30)
    until_in(lambda: ask(lab, PORT, "/numbers").text, ".")


@pytest.mark.systemd
@pytest.mark.slow
def test_server_that_takes_no_connection_any_more_is_found(example: Example, lab: Lab):
    """The loop turns, every task gets on, who is connected is served; and nobody gets in."""
    one = example("aiohttp", **DEMO, **SOON)
    assert ask(lab, PORT, "/demo/use-up-the-descriptors").status == 200
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30)
    assert ask(lab, PORT) == (200, "hello")


@pytest.mark.systemd
@pytest.mark.slow
@pytest.mark.parametrize("clients", [0, 4])
def test_server_that_works_is_left_alone(example: Example, lab: Lab, clients: int):
    """For five times as long as systemd would wait, idle and with all of its clients at it."""
    one = example("aiohttp", WatchdogSec=f"{GRANT_S:g}s")
    if clients:
        words = ("load", str(PORT), f"{5 * GRANT_S:g}", str(clients), REQUEST, "hello")
        count = json.loads(lab.run(sys.executable, str(CLIENT), *words, check=True).stdout)
        assert count["failed"] == 0
        assert count["answered"] > 100
    else:
        with pytest.raises(LabError, match="waited 20 s"):
            one.wait(NRestarts="1", timeout_s=5 * GRANT_S)
    assert one.show("NRestarts", "ActiveState") == {"NRestarts": "0", "ActiveState": "active"}


@pytest.mark.systemd
@pytest.mark.slow
def test_request_under_way_is_finished_while_systemd_knows_of_the_stop(example: Example, lab: Lab):
    """The signal is the test's own: `systemctl stop` would show the same state without any
    STOPPING=1."""
    one = example("aiohttp", **DEMO)
    request = Request(lab, PORT, "/demo/take-long?s=8")
    ask(lab, PORT)  # so that the first one is under way
    one.kill("TERM", "--kill-who=main")
    one.wait(ActiveState="deactivating", timeout_s=7)
    assert one.pids()
    assert request.reply() == (200, "done")
    one.wait(ActiveState="inactive", Result="success", NRestarts="0")


@pytest.mark.slow
def test_it_runs_without_systemd():
    """On a developer's machine: nothing is sent, nothing fails, and TERM ends it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, str(REPOSITORY / "examples/aiohttp/main.py")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env={"PORT": str(port)}, text=True, **pipes)
    try:
        assert process.stdout.readline() == f"serving on 127.0.0.1 port {port}\n"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/", headers={"Connection": "close"})
        assert connection.getresponse().read() == b"hello"
        process.terminate()
        assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def status_of(one: Unit) -> str:
    return one.show("StatusText")["StatusText"]
