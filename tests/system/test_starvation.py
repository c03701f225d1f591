"""A busy machine, a freeze or a debugger kills no healthy target, and saves none that hangs."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from freezer import freeze, thaw
from hosts import PYTHON, SERVER, TARGETS, free_port, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from systemd_host import SystemdHost

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

REST_S = 0.7  # beyond the watchdog until the next life: see test_watchdog.py
TRACER = str(TARGETS / "tracer.py")
BURN = "print('up', flush=True)\nwhile True: pass"
WAIT = "import sys, time; time.sleep(float(sys.argv[1])); print('done', flush=True)"
LOAD_S = 300.0


def inside(pid: int) -> str:
    """The number that a process of a lab has in there."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("NSpid:")).split()[-1]


def test_short_look_with_a_debugger_costs_nothing_and_is_named(
    systemd: SystemdHost, port: str
) -> None:
    """`gdb -p` on the one service that misbehaves must not end it under the admin's hands."""
    options = ["--probe", f"http://127.0.0.1:{port}/"]
    target = [*SERVER, "--speaks", "http", port]
    systemd.start(options, target, watchdog_s=2.0, restart="always")
    systemd.run_outside([*PYTHON, TRACER, inside(systemd.target_pid)])
    systemd.wait_status(r"undecided: .*, but it is being traced by python3 \(pid \d+\)")
    fed_at = systemd.fed_at
    poll(lambda: systemd.fed_at, lambda at: at > fed_at, what="a ping on grace")
    systemd.end_outside()
    systemd.wait_line("healthy again")
    assert systemd.restarts == 0


@pytest.mark.parametrize("probe", ["tcp", "alive"])
def test_debugger_that_never_lets_go_does_not_keep_a_service_alive(
    systemd: SystemdHost, port: str, probe: str
) -> None:
    """One more WatchdogSec, and no more: a forgotten gdb must not be an outage without end.

    A process that is held hears no SIGABRT; systemd's SIGKILL comes after TimeoutAbortSec=.
    """
    options = ["--ready", f"tcp:{port}", "--live", f"tcp:{port}" if probe == "tcp" else "alive"]
    settings = {"watchdog_s": 1.0, "restart": "always", "stop_timeout_s": 0.2}
    systemd.start(options, [*SERVER, port], **settings)
    systemd.run_outside([*PYTHON, TRACER, inside(systemd.target_pid)])
    held_at = time.monotonic()
    result, at = systemd.wait_restart()
    print(f"held by a debugger: next life after {at - held_at:.2f} s")
    assert result == "watchdog"
    assert 1.0 < at - held_at < 2 * 1.0 + 0.2 + REST_S
    systemd.wait_active()


@pytest.mark.parametrize("kind", ["tcp", "http", "zero-config"])
def test_thawed_service_pings_at_once(systemd: SystemdHost, port: str, kind: str) -> None:
    """`systemctl freeze`: the watchdog of systemd has run on meanwhile, up to version 254.

    So the round that was due during the freeze is made up for right after it.
    """
    options = {
        "tcp": ["--probe", f"tcp:{port}"],
        "http": ["--probe", f"http://127.0.0.1:{port}/"],
        "zero-config": [],
    }[kind]
    target = [*SERVER, "--speaks", "http" if kind == "http" else "echo", port]
    systemd.start(options, target, watchdog_s=3.0, restart="always")
    lab, unit = systemd.lab, systemd.unit.name
    systemd.wait_fed_for(0.0)
    freeze(lab, unit)
    fed_at = systemd.fed_at
    systemd.run_outside([*PYTHON, "-c", WAIT, "1.2"])  # longer than a round, shorter than the rest
    assert systemd.fed_at == fed_at
    thaw(lab, unit)
    thawed_at = time.monotonic()
    fed_at = poll(lambda: systemd.fed_at, lambda at: at > fed_at, what="a ping")
    print(f"{kind}: thaw to ping {(fed_at - thawed_at) * 1000:.1f} ms")
    assert fed_at - thawed_at < 0.1
    assert systemd.status.startswith("ready after")
    assert systemd.restarts == 0


@pytest.fixture
def busy() -> Iterator[None]:
    """Every core has two things to do that never end, before the services get any of it."""
    cores = len(os.sched_getaffinity(0))
    command = [*PYTHON, "-c", BURN]
    burners = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2 * cores)]
    for burner in burners:
        assert burner.stdout is not None
        burner.stdout.readline()
    yield
    for burner in burners:
        burner.kill()
        burner.communicate()


def servers() -> dict[str, tuple[list[str], list[str]]]:
    """Kind -> options, target; each kind of evidence has its own way to suffer under load."""
    http, tcp, zero, execs = (free_port() for _ in range(4))
    connect = f'socket.create_connection(("127.0.0.1", {execs})).recv(1)'
    check = f"/usr/bin/python3 -ISc 'import socket; {connect}'"
    return {
        "http": (["--probe", f"http://127.0.0.1:{http}/"], [*SERVER, "--speaks", "http", http]),
        "tcp": (["--probe", f"tcp:{tcp}"], [*SERVER, tcp]),
        "zero-config": ([], [*SERVER, zero]),
        "exec": (["--probe", f"exec:{check}"], [*SERVER, "--speaks", "close", execs]),
    }


@pytest.mark.alone
@pytest.mark.timeout(LOAD_S + 180)
@pytest.mark.usefixtures("busy")
def test_busy_machine_kills_nobody_and_saves_nobody(
    make_systemd: Callable[[], SystemdHost],
) -> None:
    """Every core busy twice over, WatchdogSec=1s, five minutes: no false restart.

    In the middle of it one of each kind hangs, and is found within two WatchdogSec; then it is
    healthy again for the rest of the time.
    """
    steady, victims = {}, {}
    for lives in (steady, victims):
        for kind, (options, target) in servers().items():
            lives[kind] = make_systemd()
            lives[kind].start(options, target, watchdog_s=1.0, restart="always", wait=False)
    for host in (*steady.values(), *victims.values()):
        host.wait_active(60.0)
    began = {kind: host.active_at for kind, host in steady.items()}
    assert [host.restarts for host in (*steady.values(), *victims.values())] == [0] * 8
    for host in victims.values():
        host.wait_fed_for(LOAD_S / 2)
    took_s = {}
    for kind, host in victims.items():
        deaf_at = host.signal_target("USR1")
        life = host.wait_restart()
        took_s[kind] = round(life.at - deaf_at, 2)
        assert life.result == "watchdog", kind
    print(f"busy machine: a hang of each kind was followed by the next life after {took_s} s")
    assert all(length_s < 2 * 1.0 + 2 * REST_S for length_s in took_s.values())
    for host in steady.values():
        host.wait_fed_for(LOAD_S)
    assert {kind: host.restarts for kind, host in steady.items()} == dict.fromkeys(steady, 0)
    assert {kind: host.active_at for kind, host in steady.items()} == began
    assert {kind: host.restarts for kind, host in victims.items()} == dict.fromkeys(victims, 1)
