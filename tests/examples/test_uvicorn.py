"""examples/uvicorn under its own unit files and the real systemd."""

from __future__ import annotations

import http.client
import json
import signal
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

HERE = REPOSITORY / "examples/uvicorn"
CLIENT = REPOSITORY / "tests/system/client.py"
PORT = 8000
REQUEST = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
DEMO = {"Environment": f"HOST=127.0.0.1 PORT={PORT} DEMO=yes"}
SOON = {"WatchdogSec": "2s", "RestartSec": "100ms"}
GRANT_S = 4.0


@pytest.mark.systemd
def test_life_under_systemd(example: Example, lab: Lab):
    """It serves when it says so, reads its file anew, keeps the old one when the new one is bad,
    and ends cleanly."""
    one = example("uvicorn")
    assert ask(lab, PORT) == (200, "hello")
    assert one.show("StatusText") == {"StatusText": "serving"}
    config = lab.root / "opt/uvicorn/config.toml"
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
def test_server_whose_port_is_taken_never_says_that_it_is_ready(example: Example, lab: Lab):
    """The application has started by then. Said in the lifespan, READY=1 would be a lie."""
    holder = f"import socket; taken = socket.create_server(('127.0.0.1', {PORT})); "
    script = holder + "print('held', flush=True); taken.accept()"
    taken = lab.popen(sys.executable, "-c", script, stdout=subprocess.PIPE)
    try:
        assert taken.stdout.readline() == b"held\n"
        one = example("uvicorn", start=False, Restart="no")
        assert one.start(check=False).returncode != 0
        assert "Application startup complete" in one.journal()
        assert one.show("Result") == {"Result": "exit-code"}
    finally:
        taken.terminate()
        taken.communicate()


@pytest.mark.systemd
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_first_request_after_each_start_is_answered(example: Example, lab: Lab):
    """20 of 20: what is After= this unit connects at that very moment."""
    one = example("uvicorn", start=False, StartLimitIntervalSec="0")
    words = ("first", one.name, "20", str(PORT), REQUEST, "hello")
    said = lab.run(sys.executable, str(CLIENT), *words, check=True, timeout_s=280).stdout
    assert ["hello" in reply for reply in json.loads(said)] == [True] * 20


@pytest.mark.systemd
@pytest.mark.slow
def test_blocked_loop_is_restarted_and_serves_again(example: Example, lab: Lab):
    """The commonest hang: something that blocks, in a route that is `async`."""
    one = example("uvicorn", **DEMO, **SOON)
    Request(lab, PORT, "/demo/block-the-loop").close()
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30)
    assert "Watchdog timeout" in one.journal()
    assert ask(lab, PORT) == (200, "hello")


@pytest.mark.systemd
@pytest.mark.slow
def test_threads_that_are_all_stuck_are_found_while_the_loop_turns(example: Example, lab: Lab):
    """`async` routes answer on, and all others never will: a timer in the loop would ping on."""
    one = example("uvicorn", **DEMO, **SOON)
    stuck = [Request(lab, PORT, "/demo/hold-a-thread") for _ in range(40)]
    assert ask(lab, PORT) == (200, "hello")
    until_in(lambda: status_of(one), "health check took longer")
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30)
    assert ask(lab, PORT, "/healthz") == (200, "ok")
    for request in stuck:
        request.close()


@pytest.mark.systemd
@pytest.mark.slow
@pytest.mark.parametrize("clients", [0, 4])
def test_server_that_works_is_left_alone(example: Example, lab: Lab, clients: int):
    """For five times as long as systemd would wait, idle and with all of its clients at it."""
    one = example("uvicorn", WatchdogSec=f"{GRANT_S:g}s")
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
    """STOPPING=1 at once, not when the last connection has ended: systemd's watchdog is off then,
    and nobody takes the end for a failure. The signal is the test's own: `systemctl stop` would
    show the same state without any STOPPING=1."""
    one = example("uvicorn", **DEMO)
    request = Request(lab, PORT, "/demo/take-long?s=8")
    ask(lab, PORT)  # so that the first one is under way
    one.kill("TERM", "--kill-who=main")
    one.wait(ActiveState="deactivating", timeout_s=7)
    assert one.pids()
    assert request.reply() == (200, "done")
    one.wait(ActiveState="inactive", Result="success", NRestarts="0")


@pytest.mark.systemd
@pytest.mark.slow
def test_instances_on_one_socket_are_watched_one_by_one(example: Example, lab: Lab, unit: Example):
    """One that hangs is restarted; the others serve meanwhile whoever comes."""
    text = (HERE / "uvicorn.socket").read_text()
    shared = unit(text, start=False, suffix=".socket")
    again = {"Requires": shared.name, "Sockets": shared.name, **SOON}
    demo = {"ExecStart": "/usr/bin/env DEMO=yes /opt/uvicorn/venv/bin/python3 /opt/uvicorn/main.py"}
    ones = [example("uvicorn", "uvicorn@", start=False, **again, **demo) for _ in range(2)]
    lab.install(shared.name, text.replace("uvicorn@1.service", ones[0].name))
    for one in ones:
        one.start()
    Request(lab, PORT, "/demo/block-the-loop").close()
    until_in(lambda: ones[0].journal() + ones[1].journal(), "blocks the loop")
    assert [ask(lab, PORT).text for _ in range(10)] == ["hello"] * 10
    while "1" not in (restarts := [one.show("NRestarts")["NRestarts"] for one in ones]):
        assert ask(lab, PORT).text == "hello"
    assert sorted(restarts) == ["0", "1"]


@pytest.mark.slow
def test_it_runs_without_systemd():
    """On a developer's machine: nothing is sent, nothing fails, and TERM ends it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, str(HERE / "main.py")]
    environment = {"PORT": str(port)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        while "Uvicorn running" not in (line := process.stderr.readline()):
            assert line, "it ended"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/", headers={"Connection": "close"})
        assert connection.getresponse().read() == b"hello"
        process.terminate()
        _, said = process.communicate(timeout=20)
        assert "Traceback" not in said
        assert process.returncode in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.communicate()


def status_of(one: Unit) -> str:
    return one.show("StatusText")["StatusText"]
