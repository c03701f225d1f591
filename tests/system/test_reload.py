"""A reload is seen as one: RELOADING=1, then the target's SIGHUP, then READY=1 once it serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import open_home
import pytest
from hosts import NOTIFYWRAP, REPOSITORY, SERVER, Host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from systemd_host import SystemdHost

EXEC_RELOAD = f"{NOTIFYWRAP} reload $MAINPID"
CLIENT = str(REPOSITORY / "tests/system/client.py")
REQUEST = "GET / HTTP/1.0\r\n\r\n"


def test_reload_is_over_when_the_target_serves_again(host: Host, port: str) -> None:
    """Who reloads and goes on at once would talk to a server that is not back yet."""
    host.start(["--probe", f"tcp:{port}"], [*SERVER, "--reload", "0.7", port], watchdog_s=30)
    wrapper = host.wrapper_pid
    host.kill("HUP")
    host.wait_state("reloading")
    host.wait_line(r"^reloading at")
    host.wait_active()
    host.wait_line(rf"reloading at [\d.]+\n(.*\n)*listening on {port}")
    assert host.restarts == 0
    assert host.wrapper_pid == wrapper


@pytest.mark.slow
def test_reload_does_not_stop_the_pings(host: Host, port: str) -> None:
    """The watchdog runs on during a reload, in systemd as in here."""
    target = [*SERVER, "--reload", "0", port]
    host.start(["--probe", f"tcp:{port}"], target, watchdog_s=1.0, restart="always")
    host.kill("HUP")
    host.wait_line("^reloading at")
    host.wait_fed_for(1.2)
    assert host.restarts == 0
    host.wait_active()


@pytest.mark.slow
def test_target_without_a_handler_is_not_killed_by_a_reload(host: Host, port: str) -> None:
    """SIGHUP's default is death: `systemctl reload` of a daemon that knows none would end it."""
    host.start(["--probe", f"tcp:{port}"], [*SERVER, port], watchdog_s=1.0, restart="always")
    host.kill("HUP")
    host.wait_line("no handler for HUP")
    host.wait_fed_for(1.0)
    assert host.restarts == 0
    assert host.state == "active"


# --- ExecReload=notifywrap reload $MAINPID ----------------------------------------------------


@pytest.fixture
def busy() -> Iterator[None]:
    """Every core is busy twice over."""
    burn = [sys.executable, "-I", "-S", "-c", "while True: pass"]
    burners = [subprocess.Popen(burn) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for burner in burners:
        burner.kill()
        burner.wait()


def start(
    systemd: SystemdHost, port: str, options: list[str], target: list[str], **more: Any
) -> None:
    probe = ["--probe", f"http://127.0.0.1:{port}/"]
    words = [*SERVER, "--speaks", "http", *target, port]
    systemd.start([*probe, *options], words, ExecReload=EXEC_RELOAD, **more)


def reload(systemd: SystemdHost, port: str, times: int = 1) -> dict[str, Any]:
    """`systemctl reload` and a request at once, so many times: how often each went well."""
    words = ("reload", systemd.unit.name, str(times), port, REQUEST, "200 OK")
    done = systemd.lab.run("/usr/bin/python3", "-I", CLIENT, *words, timeout_s=120.0, check=True)
    counts: dict[str, Any] = json.loads(done.stdout)
    return counts


@pytest.mark.systemd
@pytest.mark.parametrize("kind", ["--reload", "--sick-reload"])
def test_systemctl_reload_returns_when_the_target_serves(
    systemd: SystemdHost, port: str, kind: str
) -> None:
    """`systemctl reload x && deploy-next-thing`: the next thing must find x at work."""
    start(systemd, port, [], [kind, "0.3"])
    counts = reload(systemd, port)
    assert (counts["done"], counts["answered"]) == (1, 1), systemd.journal()
    assert counts["seconds"] >= 0.3
    assert systemd.state == "active"


@pytest.mark.slow
@pytest.mark.systemd
@pytest.mark.parametrize(("kind", "times"), [("--reload", 100), ("--sick-reload", 50)])
@pytest.mark.usefixtures("busy")
def test_that_holds_every_time_on_a_busy_machine(
    systemd: SystemdHost, port: str, kind: str, times: int
) -> None:
    """`ExecReload=/bin/kill -HUP $MAINPID` returned early 1 time in 6 on one."""
    start(systemd, port, [], [kind, "0.1"])
    counts = reload(systemd, port, times)
    assert (counts["done"], counts["answered"]) == (times, times), counts
    assert systemd.restarts == 0


@pytest.mark.slow
@pytest.mark.systemd
def test_systemctl_reload_fails_when_the_target_does_not_come_back(
    systemd: SystemdHost, port: str
) -> None:
    """A reload that broke the service must not look like one that worked; the service lives on."""
    start(systemd, port, ["--reload-timeout", "300ms"], ["--sick-reload", "30"])
    assert systemd.lab.systemctl("reload", systemd.unit.name).returncode != 0
    assert systemd.state == "active"
    systemd.wait_line("notifywrap: reload failed: not ready after")
    systemd.wait_status("HTTP 500")


@pytest.mark.systemd
def test_systemctl_reload_fails_where_there_is_no_handler(systemd: SystemdHost, port: str) -> None:
    """It could not have done anything, and the unit's author should know."""
    start(systemd, port, [], [])
    counts = reload(systemd, port)
    assert (counts["done"], counts["answered"]) == (0, 1)
    assert systemd.state == "active"
    systemd.wait_line("notifywrap: .*no handler for HUP")


@pytest.mark.systemd
@pytest.mark.parametrize(("command", "succeeds"), [("/bin/true", True), ("/bin/false", False)])
def test_a_reload_command_decides(
    systemd: SystemdHost, port: str, command: str, succeeds: bool
) -> None:
    """`nginx -t && nginx -s reload` and its like: what it says counts, the service stays up."""
    start(systemd, port, ["--reload", f"exec:{command}"], [])
    counts = reload(systemd, port)
    assert (counts["done"], counts["answered"]) == (int(succeeds), 1), systemd.journal()
    assert counts["seconds"] < 5
    assert systemd.state == "active"


@pytest.mark.systemd
@pytest.mark.usefixtures("home")
def test_reload_works_inside_a_sandbox(systemd: SystemdHost, port: str) -> None:
    """ExecReload= runs in the unit's own sandbox: another user, no network but its own, no /proc of
    others."""
    systemd.start(
        ["--probe", f"http://127.0.0.1:{port}/"],
        [*open_home.SERVER, "--speaks", "http", "--sick-reload", "0.05", port],
        wrapper=open_home.WRAPPER,
        ExecReload=f"{open_home.WRAPPER[0]} reload $MAINPID",
        User="nobody",
        Group="nogroup",
        PrivateNetwork="yes",
        PrivateUsers="yes",
        PrivateTmp="no",
        ProtectProc="invisible",
        ProcSubset="pid",
        ProtectSystem="strict",
        NoNewPrivileges="yes",
        CapabilityBoundingSet="",
        RestrictAddressFamilies="AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        SystemCallFilter="@system-service",
        MemoryDenyWriteExecute="yes",
    )
    done = systemd.lab.systemctl("reload", systemd.unit.name, timeout_s=5)
    assert done.returncode == 0, systemd.journal()
    systemd.wait_line("reloading at")
    assert systemd.state == "active"


@pytest.mark.systemd
def test_a_wrapper_killed_during_a_reload_ends_it(systemd: SystemdHost, port: str) -> None:
    """`systemctl reload` must not hang until TimeoutStartSec=."""
    start(systemd, port, [], ["--sick-reload", "60"])
    name = systemd.unit.name
    with systemd.lab.popen("systemctl", "reload", name) as waiting:
        systemd.wait_state("reloading")
        systemd.wait_line("reloading at")
        systemd.kill("KILL")
        assert waiting.wait(15) != 0
    systemd.wait_end()


@pytest.mark.systemd
def test_stopping_during_a_reload_ends_it(systemd: SystemdHost, port: str) -> None:
    """Who stops a service does not want to wait for its reload."""
    start(systemd, port, [], ["--sick-reload", "60"])
    with systemd.lab.popen("systemctl", "reload", systemd.unit.name) as waiting:
        systemd.wait_line("reloading at")
        assert systemd.stop().result == "success"
        assert waiting.wait(15) != 0
