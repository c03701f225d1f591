"""Units that were not written for a watchdog, and a manager that has its own troubles."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hosts import OBEY, PYTHON, SERVER, Outcome, poll

if TYPE_CHECKING:
    from systemd_host import SystemdHost

pytestmark = pytest.mark.systemd

# Fills the socket that it is given until the kernel takes no more.
FLOOD = """
import socket, sys
client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
sent = 0
try:
    while True:
        client.sendto(b"X_FLOOD=1", sys.argv[1])
        sent += 1
except BlockingIOError:
    print("full after", sent, flush=True)
"""
WAIT = "import signal, sys; signal.sigtimedwait((), float(sys.argv[1])); print('done', flush=True)"


@pytest.mark.parametrize("kind", ["simple", "exec"])
def test_without_notify_socket_it_is_a_plain_supervisor(
    systemd: SystemdHost, name: str, kind: str
) -> None:
    """A unit that is still Type=simple works as before: same signals, same exit status."""
    options = ["--ready", f"listen:{name}"]
    systemd.start(options, [*OBEY, name, "TERM=3"], Type=kind)
    systemd.wait_line("ready after")
    systemd.kill("USR1")
    systemd.wait_line("^got USR1$")
    assert systemd.stop() == Outcome("exit-code", "exited", 3)
    assert systemd.pids() == []


@pytest.mark.slow
def test_watchdog_sec_0_is_no_watchdog(systemd: SystemdHost, port: str) -> None:
    """WatchdogSec=0 in a drop-in is how an admin turns it off: readiness works all the same."""
    options = ["--probe", f"tcp:{port}", "--period", "500ms"]
    assert systemd.start(options, [*SERVER, port], WatchdogSec="0").ok
    systemd.freeze_target()
    systemd.wait_status("the target is stopped")
    assert systemd.state == "active"
    assert systemd.fed_at <= systemd.active_at


@pytest.mark.slow
def test_watchdog_of_a_simple_service_works_too(systemd: SystemdHost, port: str) -> None:
    """Type=simple with WatchdogSec=: systemd gives it a NOTIFY_SOCKET, and waits for pings."""
    systemd.start(["--probe", f"tcp:{port}"], [*SERVER, port], watchdog_s=1.0, Type="simple")
    systemd.wait_line("ready after")
    systemd.wait_fed_for(1.5)
    systemd.freeze_target()
    assert systemd.wait_end() == Outcome("watchdog", "killed", 6)


@pytest.mark.slow
def test_notify_access_none_is_main_to_systemd(systemd: SystemdHost, port: str) -> None:
    """Type=notify makes NotifyAccess=main of none: nothing to do for us, and it stays so."""
    settings = {"NotifyAccess": "none"}
    assert systemd.start(["--probe", f"tcp:{port}"], [*SERVER, port], watchdog_s=1.0, **settings).ok
    assert systemd.show("NotifyAccess") == "main"
    systemd.wait_fed_for(1.0)


def test_notify_access_exec_locks_nobody_out(systemd: SystemdHost, port: str) -> None:
    """The wrapper is the main process, so every value that systemd knows lets it speak."""
    target = [*SERVER, port]
    assert systemd.start(["--probe", f"tcp:{port}"], target, NotifyAccess="exec").ok
    assert systemd.stop().result == "success"


@pytest.mark.slow
def test_daemon_reexec_in_mid_life_costs_no_ping(systemd: SystemdHost, port: str) -> None:
    """An update of systemd itself restarts PID 1's program under running services."""
    target = [*SERVER, port]
    systemd.start(["--probe", f"tcp:{port}"], target, watchdog_s=1.0, restart="always")
    wrapper = systemd.wrapper_pid
    for _ in range(2):
        systemd.lab.systemctl("daemon-reexec", check=True)
        fed_at = systemd.fed_at
        poll(lambda: systemd.fed_at, lambda at, last=fed_at: at > last, what="another ping")
    systemd.wait_fed_for(1.5)
    assert systemd.wrapper_pid == wrapper
    assert systemd.restarts == 0


@pytest.mark.slow
def test_busy_pid_1_costs_no_restart(systemd: SystemdHost, port: str) -> None:
    """Pings that wait in PID 1's socket count when it comes to read them."""
    target = [*SERVER, port]
    systemd.start(["--probe", f"tcp:{port}"], target, watchdog_s=1.0, restart="always")
    systemd.wait_fed_for(0.5)
    wrapper, system = systemd.wrapper_pid, systemd.lab.pid
    os.kill(system, signal.SIGSTOP)
    try:
        systemd.run_outside([*PYTHON, "-c", WAIT, "1.5"])  # longer than WatchdogSec
    finally:
        os.kill(system, signal.SIGCONT)
    systemd.wait_fed_for(2.6)
    assert systemd.wrapper_pid == wrapper
    assert systemd.restarts == 0


@pytest.mark.slow
def test_ready_gets_through_although_the_socket_of_pid_1_was_full(
    systemd: SystemdHost, port: str
) -> None:
    """READY=1 that is lost would be a start that times out: it is sent again until it is taken."""
    options = ["--probe", f"http://127.0.0.1:{port}/"]
    target = [*SERVER, "--speaks", "http", "--after", "1", port]
    systemd.start(options, target, watchdog_s=30, wait=False)
    systemd.wait_status("waiting")
    system = systemd.lab.pid
    os.kill(system, signal.SIGSTOP)
    try:
        systemd.run_outside([*PYTHON, "-c", FLOOD, "/run/systemd/notify"])
        systemd.run_outside([*PYTHON, "-c", WAIT, "2"])  # the target listens meanwhile
    finally:
        os.kill(system, signal.SIGCONT)
    systemd.wait_active()
    listening_at = float(systemd.wait_line(rf"listening on {port} at ([\d.]+)")[1])
    assert systemd.active_at - listening_at > 0.5, "PID 1 was stopped when it became ready"
