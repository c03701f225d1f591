"""What systemd is told: READY once it is true, pings on evidence, and why there are none."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.runtime.wrapped import (
    LIMIT_S,
    Wrapped,
    clean_environment,
    is_gone,
    run,
    target,
    until,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.wrapped import Inbox


def listening(wrapper: Wrapped) -> str:
    """Let the target open its socket; returns where it is."""
    assert wrapper.line() == "started"
    wrapper.tell("listen")
    line = wrapper.line()
    assert line.startswith("listening ")
    return line.removeprefix("listening ")


KINDS = ["tcp", "unix", "http", "zero-config", "exec"]
# A hang takes its seconds to be sure of: one kind stands for all in a fast run.
TCP_IS_FAST = ["tcp", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]


def serving(kind: str, tmp_path: Path) -> tuple[list[str], list[str]]:
    """(command of a server, options that probe it) for each kind of live probe."""
    port, path = free_port(), str(tmp_path / "s.sock")
    code = (
        f"import socket; s = socket.create_connection(('127.0.0.1', {port}), 0.2);"
        "s.settimeout(0.2); s.sendall(b'GET /'); assert s.recv(9)"
    )
    return {
        "tcp": (target("told", "tcp", str(port)), ["--probe", f"tcp:{port}"]),
        "unix": (target("told", "unix", path), ["--probe", f"unix:{path}"]),
        "http": (target("told", "http", str(port)), ["--probe", f"http://127.0.0.1:{port}/"]),
        "zero-config": (target("told", "tcp", "0"), []),
        "exec": (
            target("told", "http", str(port)),
            ["--ready", f"tcp:{port}", "--live", f'exec:{sys.executable} -ISc "{code}"'],
        ),
    }[kind]


def pings_until_silent(inbox: Inbox, quiet_s: float) -> int:
    """Read until *quiet_s* pass without a ping; how many there were."""
    pings, last = 0, time.monotonic()
    while (left_s := last + quiet_s - time.monotonic()) > 0:
        try:
            if "WATCHDOG" in inbox.next(left_s):
                pings, last = pings + 1, time.monotonic()
        except TimeoutError:
            break
    return pings


# --- READY ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["listen", "tcp", "unix", "http", "zero-config"])
def test_ready_is_said_only_after_the_target_serves(inbox: Inbox, tmp_path: Path, kind: str):
    """`systemctl start` returns with READY=1: what is ordered after us must find us serving."""
    command, options = serving("tcp" if kind == "listen" else kind, tmp_path)
    if kind == "listen":
        options = ["--probe", options[1].replace("tcp", "listen")]
    with Wrapped(command, *options, inbox=inbox, watchdog_s=60) as wrapper:
        assert wrapper.line() == "started"
        assert "waiting for" in inbox.wait("STATUS")["STATUS"]
        before = inbox.drain()
        assert not [message for message in before if "READY" in message or "WATCHDOG" in message]
        wrapper.tell("listen")
        ready = inbox.wait("READY", "1")
        assert ready["STATUS"].startswith("ready after ")
        assert ready["WATCHDOG"] == "1"
        assert wrapper.line().startswith("listening ")


def test_a_target_whose_port_is_held_by_another_process_is_never_ready(inbox: Inbox):
    """An old instance that still listens would pass any probe that only connects."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Wrapped(target("end"), "--ready", f"listen:{port}", inbox=inbox) as wrapper:
            assert wrapper.line() == "ready"
            assert str(port) in inbox.wait("STATUS", "another")["STATUS"]
            wrapper.tell("exit 1")
            assert wrapper.end() == 1
    assert not [message for message in inbox.drain() if "READY" in message]


def test_all_of_several_ready_probes_must_pass(inbox: Inbox, tmp_path: Path):
    """The option may be repeated, and each one is a condition of its own."""
    one, other = tmp_path / "one", tmp_path / "other"
    options = ("--ready", f"file:{one}", "--ready", f"file:{other}")
    with Wrapped(["sleep", "1000"], *options, inbox=inbox):
        one.touch()
        inbox.wait("STATUS", f"waiting for file:{other}")
        assert not [message for message in inbox.drain() if "READY" in message]
        other.touch()
        inbox.wait("READY", "1")


def test_stopping_is_said_for_the_stop_signal_alone(inbox: Inbox):
    """STOPPING=1 is final for systemd: said for a QUIT that dumps threads, it ends the unit."""
    quiet = str(int(signal.SIGUSR2))
    with Wrapped(target("record_signals", quiet), "--ready", "alive", inbox=inbox) as wrapper:
        inbox.wait("READY", "1")
        assert wrapper.line() == "ready"
        wrapper.signal(signal.SIGQUIT)
        assert wrapper.line() == str(int(signal.SIGQUIT))
        wrapper.signal(signal.SIGTERM)
        messages = [inbox.wait("STOPPING", "1")]
        assert "STATUS" in messages[0]
        os.kill(wrapper.target_pid, signal.SIGKILL)
        wrapper.end()
    assert b"\n".join(inbox.heard).count(b"STOPPING") == 1


# --- a socket that is full, gone, or never was ----------------------------------------------------


@pytest.mark.slow
def test_ready_comes_through_a_full_socket_and_nothing_spins(inbox: Inbox):
    """PID 1 is busy at boot: a lost READY=1 is a start that times out, a spin makes it worse."""
    inbox.stuff()
    with Wrapped(["sleep", "1000"], "--ready", "alive", inbox=inbox, watchdog_s=2) as wrapper:
        pid = wrapper.target_pid
        until(lambda: wrapper.switches() > 20, "it has tried a few times")
        before, began, cpu_s = wrapper.switches(), time.monotonic(), wrapper.cpu_s()
        until(lambda: wrapper.switches() >= before + 20, "it goes on trying")
        assert wrapper.switches() - before <= 150 * max(1.0, time.monotonic() - began)
        assert wrapper.cpu_s() - cpu_s < 0.5 * (time.monotonic() - began) + 0.05
        for _ in range(inbox.stuffed):
            assert inbox.next() == {"X_STUFFED": "1"}
        assert inbox.wait("READY", "1")["WATCHDOG"] == "1"
        assert inbox.wait("WATCHDOG", "1")
        assert not is_gone(pid)


def test_the_end_of_the_target_is_mirrored_although_the_socket_is_full(inbox: Inbox):
    """A wrapper that waits for systemd to listen would hide a crash from it."""
    with Wrapped(target("end"), "--ready", "alive", inbox=inbox) as wrapper:
        inbox.wait("READY", "1")
        inbox.stuff()
        wrapper.tell("exit 6")
        assert wrapper.end() == 6


def test_pings_go_on_after_the_manager_was_executed_anew(inbox: Inbox):
    """`systemctl daemon-reexec` binds a new socket: a service must not die of an update."""
    with Wrapped(["sleep", "1000"], "--ready", "alive", inbox=inbox, watchdog_s=0.4):
        inbox.wait("READY", "1")
        inbox.wait("WATCHDOG", "1")
        inbox.vanish()
        inbox.bind()
        for _ in range(3):
            inbox.wait("WATCHDOG", "1")


def test_a_socket_that_vanishes_does_not_stop_the_service(inbox: Inbox):
    """The daemon is well: that nobody wants to hear it is no reason to end it."""
    with Wrapped(target("end"), "--ready", "alive", inbox=inbox, watchdog_s=0.4) as wrapper:
        inbox.wait("READY", "1")
        inbox.vanish()
        before, began = wrapper.switches(), time.monotonic()
        until(lambda: wrapper.switches() >= before + 10, "it tries to ping")
        assert wrapper.switches() - before <= 150 * max(1.0, time.monotonic() - began)
        wrapper.tell("exit 8")
        assert wrapper.end() == 8


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({}, id="no systemd"),
        pytest.param({"NOTIFY_SOCKET": ""}, id="empty NOTIFY_SOCKET"),
        pytest.param({"WATCHDOG_USEC": "1000"}, id="a watchdog without a socket"),
        pytest.param({"WATCHDOG_USEC": "garbage"}, id="garbage that is not for us"),
    ],
)
def test_without_systemd_it_is_a_plain_supervisor(env: dict[str, str]):
    """The same command line must work by hand, in a container and under another init."""
    done = run("--", "sh", "-c", "echo out; exit 9", env=clean_environment(**env))
    assert (done.stdout, done.returncode) == ("out\n", 9)


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({"WATCHDOG_USEC": "0"}, id="WatchdogSec=0"),
        pytest.param({"WATCHDOG_USEC": str(2**64 - 1)}, id="WatchdogSec=infinity"),
        pytest.param({"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"}, id="for somebody else"),
        pytest.param({}, id="no WatchdogSec="),
    ],
)
def test_without_a_watchdog_there_are_no_pings(inbox: Inbox, env: dict[str, str]):
    """WATCHDOG=1 arms a timer where there is none; readiness must work all the same."""
    with Wrapped(
        target("end"), "--ready", "alive", "--period", "20ms",
        inbox=inbox, env=clean_environment(**env),
    ) as wrapper:  # fmt: skip
        assert "WATCHDOG" not in inbox.wait("READY", "1")
        before = wrapper.switches()
        until(lambda: wrapper.switches() > before + 10, "some live rounds have passed")
        wrapper.tell("exit 2")
        assert wrapper.end() == 2
    assert b"WATCHDOG" not in b"".join(inbox.heard)


# --- the watchdog ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", TCP_IS_FAST)
def test_a_stopped_target_gets_no_further_pings(inbox: Inbox, tmp_path: Path, kind: str):
    """Its kernel still completes connections for it: that must not look like life."""
    command, options = serving(kind, tmp_path)
    watchdog_s = 2.0 if kind == "exec" else 0.8
    with Wrapped(command, *options, inbox=inbox, watchdog_s=watchdog_s) as wrapper:
        listening(wrapper)
        inbox.wait("READY", "1")
        inbox.wait("WATCHDOG", "1")
        os.kill(wrapper.target_pid, signal.SIGSTOP)
        assert pings_until_silent(inbox, 2 * watchdog_s) <= 2  # those already on their way
        assert b"stopped" in b"".join(inbox.heard)


@pytest.mark.parametrize("kind", TCP_IS_FAST)
def test_a_target_that_hangs_gets_no_further_pings_until_it_recovers(
    inbox: Inbox, tmp_path: Path, kind: str
):
    """The hang that matters: the process runs, its port listens, and nobody is served."""
    command, options = serving(kind, tmp_path)
    watchdog_s = 2.0 if kind == "exec" else 0.8
    with Wrapped(command, *options, inbox=inbox, watchdog_s=watchdog_s) as wrapper:
        listening(wrapper)
        inbox.wait("READY", "1")
        inbox.wait("WATCHDOG", "1")
        wrapper.tell("deaf")
        assert wrapper.line() == "deaf"
        pings = pings_until_silent(inbox, 2 * watchdog_s)
        heard = b"".join(inbox.heard)
        # A time-out on a busy machine blames nobody; for one WatchdogSec=, four rounds, at most.
        assert pings <= 2 + 4 * (b"undecided" in heard)
        assert b"unhealthy" in heard
        wrapper.tell("hear")
        assert wrapper.line() == "hear"
        inbox.wait("WATCHDOG", "1")


@pytest.mark.slow
def test_http_500_gets_no_ping_and_status_says_so(inbox: Inbox, tmp_path: Path):
    """The sysadmin reads STATUS first: it must name the answer, not only 'watchdog timeout'."""
    command, options = serving("http", tmp_path)
    with Wrapped(command, *options, inbox=inbox, watchdog_s=1) as wrapper:
        listening(wrapper)
        inbox.wait("READY", "1")
        wrapper.tell("answer 500 Internal Server Error")
        assert wrapper.line().startswith("answer")
        assert "HTTP 500" in inbox.wait("STATUS", "unhealthy")["STATUS"]
        assert pings_until_silent(inbox, 1.5) <= 1
        wrapper.tell("answer 200 OK")
        inbox.wait("WATCHDOG", "1")
        assert "ready after" in inbox.wait("STATUS")["STATUS"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "status_line",
    [
        r"500 a\x0aREADY=1",
        r"500 a\x0dREADY=1",
        r"500 \xff\xfe\x1b[31m\x00 \x07",
        r"500 " + "x" * 3000,
        r"500 \x5c",
        r"500 \xe2\x80\xae\xe2\x80\xa8",
    ],
)
def test_status_is_one_short_line_whatever_the_server_answers(
    inbox: Inbox, tmp_path: Path, status_line: str
):
    """A newline in STATUS would be an assignment of the server's; bad UTF-8 clears the text."""
    command, options = serving("http", tmp_path)
    with Wrapped(command, *options, inbox=inbox, watchdog_s=60) as wrapper:
        assert wrapper.line() == "started"
        wrapper.tell(f"answer {status_line}")
        wrapper.tell("listen")
        assert wrapper.line().startswith("answer ")
        assert "500" in inbox.wait("STATUS", "500")["STATUS"]
        wrapper.signal(signal.SIGKILL)
    for datagram in inbox.heard:
        text = datagram.decode()
        assert "READY" not in text
        for line in text.split("\n"):
            assert line.startswith(("STATUS=", "WATCHDOG="))
            assert len(line.removeprefix("STATUS=")) <= 200
            assert line.isprintable()


@pytest.mark.slow
def test_status_changes_at_most_once_a_second(inbox: Inbox, tmp_path: Path):
    """Each change goes over D-Bus to everyone who watches the unit."""
    command, options = serving("http", tmp_path)
    with Wrapped(command, *options, "--period", "20ms", inbox=inbox, watchdog_s=60) as wrapper:
        listening(wrapper)
        inbox.wait("READY", "1")
        began = time.monotonic()
        for number in range(500, 560):
            wrapper.tell(f"answer {number} X")
            assert wrapper.line().startswith("answer")
        until(lambda: time.monotonic() > began + 1.5, "the second is over", LIMIT_S)
        told = [message for message in inbox.drain() if "STATUS" in message]
        assert 1 <= len(told) <= 3
