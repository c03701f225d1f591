"""The same service under every systemd from 247 to 262: start, watchdog, exit, reload and the rest.

Each Debian release is a tree in .cache/rootfs (script/make-rootfs), booted once; without it its
tests are skipped. The wrapper runs on the release's own Python, so this is the test of Python 3.13
and 3.14 as well. Debian 11 has 3.9, which is too old for notifywrap: there the Python of this
machine is used, through this machine's own loader and libraries (/opt/host), and systemd 247 is all
that is Debian 11's.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from freezer import freeze, thaw
from hosts import REPOSITORY, TARGETS, Outcome, free_port, poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from systemd_host import SystemdHost

    from tests.conftest import Lab, Unit

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

SUITES = {"bullseye": 247, "bookworm": 252, "bookworm-backports": 254, "trixie": 257, "sid": 262}
OWN_PYTHON = "/opt/python3"  # in the lab
PROGRAM = "/opt/notifywrap"
CACHE = "/run/notifywrap-pycache"  # the repository is read-only in there, and has another Python's
# Where pip has put psutil, and as Debian's package in the trees: for what has no --probe.
LAUNCHER = f"""\
#!{OWN_PYTHON} -I
import sys
sys.pycache_prefix = {CACHE!r}
sys.path.insert(0, {str(REPOSITORY)!r})
sys.path.append({str(Path(psutil.__file__).parents[1])!r} if {{borrowed}} else sys.path[-1])
from notifywrap.cli.__main__ import main
sys.exit(main())
"""
REST_S = 0.7  # beyond WatchdogSec until the next life: see test_watchdog.py; more Pythons to start


@pytest.fixture(scope="module", params=SUITES)
def lab(request: pytest.FixtureRequest, lab_of: Callable[[str], Lab]) -> Lab:
    """Stands for the lab of all other tests here, and in the fixtures `unit` and `systemd`."""
    booted = lab_of(request.param)
    assert booted.version == SUITES[request.param]
    borrowed = request.param == "bullseye"
    if borrowed:
        write_program(booted.root / OWN_PYTHON[1:], borrow_python(booted))
    else:
        python = booted.root / OWN_PYTHON[1:]
        python.unlink(missing_ok=True)
        python.symlink_to("/usr/bin/python3")
    write_program(booted.root / PROGRAM[1:], LAUNCHER.format(borrowed=borrowed))
    package = str(REPOSITORY / "notifywrap")
    booted.run(OWN_PYTHON, f"-Xpycache_prefix={CACHE}", "-mcompileall", "-q", package, check=True)
    return booted


def borrow_python(lab: Lab) -> str:
    """A program that is this machine's interpreter, in a lab whose C library is another."""
    python = Path("/opt/host", os.path.realpath(sys.executable)[1:])
    loaders = [*(lab.root / "opt/host/usr/lib").glob("*/ld-linux*.so.*")]
    if not (lab.root / str(python)[1:]).exists() or not loaders:
        pytest.skip("needs an interpreter in /usr of a machine that has its libraries there too")
    loader = f"/opt/host/usr/lib/{loaders[0].parent.name}/{loaders[0].name}"
    libraries = os.path.dirname(loader)
    return f'#!/bin/sh\nexec {loader} --argv0 {python} --library-path {libraries} {python} "$@"\n'


def write_program(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def target(name: str, *words: str) -> list[str]:
    """The command of one of the programs in tests/targets, in the lab."""
    return [OWN_PYTHON, "-I", "-S", str(TARGETS / f"{name}.py"), *words]


def start(
    systemd: SystemdHost, options: list[str], command: list[str], **settings: Any
) -> SystemdHost:
    """Start it and wait until it is active."""
    started = systemd.start(options, command, wrapper=(PROGRAM,), **settings)
    assert started.ok, systemd.journal()
    return systemd


def test_start_returns_when_the_target_listens(make_systemd: Callable[[], SystemdHost]) -> None:
    """Type=notify, by every kind of evidence."""
    ports = [free_port() for _ in range(4)]
    kinds = {
        "listen": ["--ready", f"listen:{ports[0]}"],
        "tcp": ["--probe", f"tcp:{ports[1]}"],
        "http": ["--probe", f"http://127.0.0.1:{ports[2]}/"],
        "zero-config": [],
    }
    for port, (kind, options) in zip(ports, kinds.items(), strict=True):
        speaks = "http" if kind == "http" else "echo"
        command = target("server", "--after", "0.2", "--speaks", speaks, port)
        one = start(make_systemd(), options, command, watchdog_s=30)
        listening_at = float(one.wait_line(rf"listening on {port} at ([\d.]+)")[1])
        assert 0 <= one.active_at - listening_at < 1.0, one.journal()
        assert port in one.status


@pytest.mark.parametrize("kill_mode", ["mixed", "control-group"])
def test_stopped_and_hung_targets_are_restarted(
    make_systemd: Callable[[], SystemdHost], kill_mode: str
) -> None:
    """WatchdogSec=1s: SIGSTOP is seen in /proc, a deaf server by its accept queue."""
    hosts = [make_systemd(), make_systemd()]
    settings = {"watchdog_s": 1.0, "restart": "always", "kill_mode": kill_mode}
    for host, port in zip(hosts, (free_port(), free_port()), strict=True):
        start(host, ["--probe", f"tcp:{port}"], target("server", port), **settings)
    frozen_at, deaf_at = hosts[0].freeze_target(), hosts[1].signal_target("USR1")
    lives = [host.wait_restart() for host in hosts]
    assert [life.result for life in lives] == ["watchdog", "watchdog"]
    assert lives[0].at - frozen_at < 1.0 + REST_S
    assert lives[1].at - deaf_at < 2.0 + REST_S
    for host in hosts:
        host.wait_active()


@pytest.mark.parametrize("signum", ["USR1", "KILL"])
def test_end_of_the_target_is_that_of_the_unit(
    systemd: SystemdHost, name: str, signum: str
) -> None:
    """Exit status and deadly signal alike."""
    options = ["--ready", f"listen:{name}", "--live", "alive"]
    start(systemd, options, target("obey", name, "USR1=3"))
    systemd.signal_target(signum)
    wanted = ("signal", "killed", 9) if signum == "KILL" else ("exit-code", "exited", 3)
    assert systemd.wait_end() == Outcome(*wanted)
    assert systemd.pids() == []


@pytest.mark.parametrize("kill_mode", ["mixed", "control-group"])
def test_stop_is_told_and_clean(systemd: SystemdHost, name: str, kill_mode: str) -> None:
    """STOPPING=1 turns the watchdog off while the target shuts down."""
    options = ["--ready", f"listen:{name}", "--live", "alive"]
    command = target("obey", name, "TERM=", "USR1=0")
    start(systemd, options, command, watchdog_s=1.0, kill_mode=kill_mode)
    systemd.kill("TERM")
    systemd.wait_state("deactivating")
    systemd.wait_status("stopping")
    systemd.wait_line("^got TERM$")
    systemd.signal_target("USR1")
    assert systemd.wait_end() == Outcome("success", "exited", 0)


def test_reload_command_returns_when_the_target_serves_again(
    systemd: SystemdHost, port: str
) -> None:
    """ExecReload=notifywrap reload $MAINPID: for every systemd, and the only way before 253."""
    command = target("server", "--reload", "0.4", port)
    settings = {"ExecReload": f"{PROGRAM} reload $MAINPID", "watchdog_s": 30}
    start(systemd, ["--probe", f"tcp:{port}"], command, **settings)
    done = systemd.lab.systemctl("reload", systemd.unit.name)
    assert done.returncode == 0, f"{done.stdout}\n{systemd.journal()}"
    assert systemd.state == "active"
    systemd.wait_line(rf"reloading at [\d.]+\n(.*\n)*listening on {port}")


def test_notify_reload_returns_when_the_target_serves_again(
    systemd: SystemdHost, port: str
) -> None:
    """Type=notify-reload, from systemd 253 on; before it the unit does not load."""
    if systemd.lab.version < 253:
        pytest.skip("systemd before 253 does not have Type=notify-reload")
    command = target("server", "--reload", "0.4", port)
    start(systemd, ["--probe", f"tcp:{port}"], command, watchdog_s=30, Type="notify-reload")
    done = systemd.lab.systemctl("reload", systemd.unit.name)
    assert done.returncode == 0, f"{done.stdout}\n{systemd.journal()}"
    assert systemd.state == "active"
    systemd.wait_line(rf"reloading at [\d.]+\n(.*\n)*listening on {port}")
    assert systemd.restarts == 0


def test_sockets_and_stored_files_reach_the_target(
    lab: Lab, unit: Callable[..., Unit], port: str
) -> None:
    """Socket activation, and FDSTORE=1 from one life to the next, both through the wrapper."""
    socket_unit = unit("[Socket]\nListenStream=1\n", start=False, suffix=".socket")
    service = unit(
        Type="notify",
        Sockets=socket_unit.name,
        ExecStart=f"{PROGRAM} --probe tcp:{port} -- {' '.join(target('heir'))}",
        FileDescriptorStoreMax="2",
        Restart="always",
        WatchdogSec="30s",
        start=False,
    )
    lab.install(
        socket_unit.name,
        f"[Socket]\nListenStream=127.0.0.1:{port}\nFileDescriptorName=web\n"
        f"Service={service.name}\n",
    )
    socket_unit.start()
    said = lab.run(OWN_PYTHON, "-I", "-c", CLIENT, port, check=True).stdout  # starts the service
    assert said.strip() == "hello"
    service.wait(ActiveState="active")
    assert "handed web\n" in service.journal()
    poll(lambda: service.show("NFileDescriptorStore")["NFileDescriptorStore"], "1".__eq__,
         what="a stored file", story=service.journal)  # fmt: skip
    service.kill("KILL")
    poll(service.journal, lambda text: "kept from the first life" in text, what="the next life")
    assert "handed web kept\n" in service.journal()


CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as client:
    client.sendall(b"hello")
    print(client.recv(100).decode())
"""


def test_target_can_be_the_main_process(systemd: SystemdHost, port: str) -> None:
    """--main target: MAINPID is the target's, and a hang is found by the sidecar."""
    options = ["--main", "target", "--probe", f"tcp:{port}"]
    settings = {"NotifyAccess": "all", "watchdog_s": 1.0, "restart": "always"}
    start(systemd, options, target("server", port), **settings)
    main = Path(f"/proc/{systemd.wrapper_pid}/cmdline").read_bytes()
    assert b"server.py" in main
    assert PROGRAM.encode() not in main
    systemd.wait_fed_for(1.2)
    os.kill(systemd.wrapper_pid, 19)
    assert systemd.wait_restart().result == "watchdog"
    systemd.wait_active()


def test_freeze_costs_nothing(systemd: SystemdHost, port: str) -> None:
    """Wrapper and target are frozen together, and the first ping after it is evidence again.

    Up to systemd 254 the watchdog runs on during a freeze: one that is longer than WatchdogSec=
    ends the unit there, whatever runs in it.
    """
    settings = {"watchdog_s": 2.0, "restart": "always"}
    start(systemd, ["--probe", f"tcp:{port}"], target("server", port), **settings)
    wrapper = systemd.wrapper_pid
    for length in ("1.0", "2.5") if systemd.lab.version >= 257 else ("1.0",):
        freeze(systemd.lab, systemd.unit.name)
        fed_at = systemd.fed_at
        systemd.run_outside([OWN_PYTHON, "-I", "-c", WAIT, length])
        thaw(systemd.lab, systemd.unit.name)
        poll(lambda: systemd.fed_at, lambda at, last=fed_at: at > last, what="a ping")
    systemd.wait_fed_for(2.2)
    assert (systemd.restarts, systemd.wrapper_pid) == (0, wrapper)


WAIT = "import sys, time; time.sleep(float(sys.argv[1])); print('done', flush=True)"


def test_slow_start_is_waited_for(systemd: SystemdHost, port: str) -> None:
    """--start-timeout: EXTEND_TIMEOUT_USEC keeps systemd's own short timeout from striking."""
    options = ["--start-timeout", "30s", "--probe", f"tcp:{port}"]
    start(systemd, options, target("server", "--after", "3", port), start_timeout_s=1.5)
    assert systemd.state == "active"


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_python_daemon_is_watched(unit: Callable[..., Unit], kind: str) -> None:
    """The library on the release's own Python: READY=1, pings, and a hang that no port shows."""
    script = f"{TARGETS / 'python_daemon.py'} {kind} {REPOSITORY}"
    one = unit(
        Type="notify",
        ExecStart=f"{OWN_PYTHON} -I -Xpycache_prefix={CACHE} {script}",
        WatchdogSec="2s",
        Restart="on-failure",
        TimeoutAbortSec="1s",
    )
    assert one.show("StatusText")["StatusText"] in ("threads are at work", "the loop turns")
    one.kill("USR1")
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30.0)
    assert "Watchdog timeout" in one.journal()
    one.stop()
    assert one.show("Result")["Result"] == "success"


def test_ports_are_the_labs_own(lab: Lab) -> None:
    """Five labs may run the same service on the same port: none of them is on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        done = lab.run(OWN_PYTHON, "-I", "-c", CLIENT, str(held.getsockname()[1]))
    assert "refused" in done.stdout.lower()
