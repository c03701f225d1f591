"""`notifywrap reload PID`: returns when the target is ready again, and says so when it is not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from notifywrap.policy.spec import Spec
from notifywrap.probes.target import Target
from notifywrap.runtime.control import Control, address_of
from notifywrap.runtime.loop import Loop
from tests.ports import free_port
from tests.runtime.wrapped import Wrapped, clean_environment, command_line, run, target, until

if TYPE_CHECKING:
    from tests.runtime.wrapped import Inbox

GAP_S = 0.3  # for so long the target is closed at HUP


@pytest.fixture
def port() -> str:
    return str(free_port())


def server(*options: str) -> list[str]:
    return target("server", *options)


def reload(wrapper: Wrapped) -> subprocess.CompletedProcess[str]:
    return run("reload", str(wrapper.pid))


def test_it_returns_when_the_target_serves_again(inbox: Inbox, port: str) -> None:
    """With systemd having been told before: or `systemctl reload` would find it reloading still."""
    command = server("--reload", str(GAP_S), port)
    with Wrapped(command, "--probe", f"tcp:127.0.0.1:{port}", inbox=inbox) as wrapper:
        inbox.wait("READY")
        began = time.monotonic()
        done = reload(wrapper)
        told = inbox.drain()
        socket.create_connection(("127.0.0.1", int(port)), 1).close()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert time.monotonic() - began >= GAP_S
        assert [next(iter(message)) for message in told][:1] == ["RELOADING"]
        assert any("READY" in message for message in told)


def test_a_target_without_a_handler_is_spared_and_the_reload_fails(inbox: Inbox, port: str) -> None:
    """HUP would end it; the reason is in the line that `systemctl reload` points to."""
    with Wrapped(server(port), "--probe", f"tcp:127.0.0.1:{port}", inbox=inbox) as wrapper:
        inbox.wait("READY")
        done = reload(wrapper)
        assert done.returncode == 1
        assert "no handler for HUP" in done.stderr
        assert wrapper.process.poll() is None
        assert not any("RELOADING" in message for message in inbox.drain())


def test_it_fails_when_the_target_does_not_come_back_in_time(inbox: Inbox, port: str) -> None:
    """And READY=1 is said all the same: systemd must not wait for ever."""
    options = ("--probe", f"tcp:127.0.0.1:{port}", "--reload-timeout", "200ms")
    with Wrapped(server("--reload", "30", port), *options, inbox=inbox) as wrapper:
        inbox.wait("READY")
        done = reload(wrapper)
        assert done.returncode == 1
        assert "reload failed: not ready after" in done.stderr
        assert f"tcp:127.0.0.1:{port}" in done.stderr
        assert "reload failed" in inbox.wait("READY")["STATUS"]


@pytest.mark.parametrize(("command", "status"), [("true", 0), ("sh -c 'exit 3'", 1)])
def test_a_command_reloads_in_place_of_a_signal(
    inbox: Inbox, port: str, command: str, status: int
) -> None:
    """`--reload exec:` for daemons with a control socket; when it fails there is nothing to wait
    for."""
    options = ("--probe", f"tcp:127.0.0.1:{port}", "--reload", f"exec:{command}")
    with Wrapped(server(port), *options, inbox=inbox) as wrapper:
        inbox.wait("READY")
        done = reload(wrapper)
        assert done.returncode == status, done.stderr
        assert (": exit 3" in done.stderr) == bool(status), done.stderr
        assert wrapper.process.poll() is None


def test_another_signal_can_mean_reload_to_the_target(inbox: Inbox, port: str) -> None:
    """`--reload USR1`: that one is looked for among its handlers, and sent."""
    options = ("--probe", f"tcp:127.0.0.1:{port}", "--reload", "USR1")
    command = server("--fault", "sick", port)
    with Wrapped(command, *options, inbox=inbox) as wrapper:
        inbox.wait("READY")
        assert reload(wrapper).returncode == 0
        assert wrapper.line().startswith("listening")
        assert wrapper.line().startswith("sick")


def test_two_at_once_are_both_answered(inbox: Inbox, port: str) -> None:
    """By hand and by a timer: neither may hang, nor return before the target serves."""
    command = server("--reload", str(GAP_S), port)
    with Wrapped(command, "--probe", f"tcp:127.0.0.1:{port}", inbox=inbox) as wrapper:
        inbox.wait("READY")
        clients = [start_client(wrapper) for _ in range(2)]
        assert [client.wait(20) for client in clients] == [0, 0]


def test_a_wrapper_that_ends_ends_the_waiting(inbox: Inbox, port: str) -> None:
    """Killed by whomever: `systemctl reload` must not wait for its time-out."""
    command = server("--reload", "30", port)
    with Wrapped(command, "--probe", f"tcp:127.0.0.1:{port}", inbox=inbox) as wrapper:
        inbox.wait("READY")
        client = start_client(wrapper)
        inbox.wait("RELOADING")
        wrapper.signal(signal.SIGKILL)
        _, errors = client.communicate(timeout=20)
        assert client.returncode == 1
        assert f"notifywrap (pid {wrapper.pid}) ended before the reload was over" in errors


def test_a_service_that_is_not_ready_yet_is_not_reloaded(inbox: Inbox, port: str) -> None:
    """It has just read its configuration; to be told so is better than to wait."""
    command = server("--after", "30", "--reload", "0", port)
    with Wrapped(command, "--probe", f"tcp:127.0.0.1:{port}", inbox=inbox) as wrapper:
        inbox.next()
        done = reload(wrapper)
        assert done.returncode == 1
        assert "the service is starting" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be somebody else")
def test_nobody_else_may_ask(inbox: Inbox, port: str) -> None:
    """A reload costs the service something: any user could keep it busy with them."""
    command = server("--reload", "0", port)
    with Wrapped(command, "--probe", f"tcp:127.0.0.1:{port}", inbox=inbox) as wrapper:
        inbox.wait("READY")
        inbox.drain()
        stranger = os.fork()
        if stranger == 0:
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                connection.settimeout(20)
                connection.connect(address_of(wrapper.pid))
                os._exit(b"only root" not in connection.recv(4096))
        assert os.waitstatus_to_exitcode(os.waitpid(stranger, 0)[1]) == 0
        assert not any("RELOADING" in message for message in inbox.drain())


def test_clients_that_go_away_or_never_read_are_no_burden(inbox: Inbox, port: str) -> None:
    """However many come, there is room for the next once the reload is over."""
    command = server("--reload", "0", port)
    with Wrapped(command, "--probe", f"tcp:127.0.0.1:{port}", inbox=inbox) as wrapper:
        inbox.wait("READY")
        fds = wrapper.fds()
        crowd = []
        for number in range(40):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            connection.connect(address_of(wrapper.pid))
            crowd.append(connection)
            if number % 2:
                crowd.pop().close()
        assert reload(wrapper).returncode in (0, 1)  # 1: "too many wait for a reload already"
        until(lambda: wrapper.fds() < fds + 10, "the connections are closed again")
        assert reload(wrapper).returncode == 0
        for connection in crowd:
            connection.close()


def test_the_target_does_not_get_the_socket(inbox: Inbox, port: str) -> None:
    """Or it could answer in the wrapper's place."""
    with Wrapped(server(port), "--probe", f"tcp:127.0.0.1:{port}", inbox=inbox) as wrapper:
        inbox.wait("READY")
        name = address_of(wrapper.pid).decode().replace("\0", "@")
        with open("/proc/net/unix") as table:
            (inode,) = [line.split()[6] for line in table if line.split()[7:] == [name]]
        fds = f"/proc/{wrapper.target_pid}/fd"
        assert f"socket:[{inode}]" not in [os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds)]


def start_client(wrapper: Wrapped) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command_line("reload", str(wrapper.pid)),
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_who_asks_when_a_reload_is_just_over_gets_one_of_his_own() -> None:
    """What he has changed may have come too late for that one."""
    asked: list[object] = []
    control = Control(Spec(("x",), (), ()), lambda *_: None)
    loop = Loop()
    control.attach(loop, asked.append, Target(os.getpid()))
    clients = []
    try:
        for _ in range(2):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
            client.connect(address_of(os.getpid()))
            clients.append(client)
            loop.wait(None)
        control.answer("", unheard=1)
        assert len(asked) == 2
        assert clients[0].recv(100) == b"ready"
        with pytest.raises(BlockingIOError):
            clients[1].recv(100)
        control.answer("not ready", unheard=0)
        assert clients[1].recv(100) == b"not ready"
    finally:
        for client in clients:
            client.close()
        control.close()
