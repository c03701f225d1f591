"""In a hardened unit all works as outside, or one line says which setting is in the way."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hosts import PYTHON, free_port
from open_home import HOME, SERVER, WRAPPER

if TYPE_CHECKING:
    from collections.abc import Callable

    from systemd_host import SystemdHost


pytestmark = pytest.mark.systemd

STRICT = {
    "CapabilityBoundingSet": "",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProcSubset": "pid",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
}
USERS: dict[str, dict[str, str]] = {
    "root": {},
    "nobody": {"User": "nobody"},
    "dynamic": {"DynamicUser": "yes"},
}
EACH_USER = [  # the strictest always, the others in the full run
    pytest.param(user, marks=() if user == "dynamic" else pytest.mark.slow) for user in USERS
]


@pytest.mark.slow
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("user", EACH_USER)
def test_hardened_unit_becomes_ready_and_a_hang_in_it_is_found(
    make_systemd: Callable[[], SystemdHost], user: str
) -> None:
    """Without AF_NETLINK, with half of /proc hidden: the accept check must not become a formality.

    For http, tcp and zero-config, side by side.
    """
    http, tcp, nothing = (free_port() for _ in range(3))
    scenes = {
        "http": (["--probe", f"http://127.0.0.1:{http}/"], ["--speaks", "http", http]),
        "tcp": (["--probe", f"tcp:{tcp}"], [tcp]),
        "zero-config": ([], [nothing]),
    }
    hosts = {kind: make_systemd() for kind in scenes}
    settings: dict[str, Any] = {**STRICT, **USERS[user]}
    for kind, (options, target) in scenes.items():
        started = hosts[kind].start(
            options, [*SERVER, *target], watchdog_s=1.0, wrapper=WRAPPER, **settings
        )
        assert started.ok, f"{kind}: {hosts[kind].journal()}"
        assert "Seccomp:\t2" in Path(f"/proc/{hosts[kind].target_pid}/status").read_text()
        assert "not verified" not in hosts[kind].journal()
    for host in hosts.values():
        host.wait_fed_for(0.5)
    for host in hosts.values():
        host.signal_target("USR1")  # deaf: alive, and accepts no more
    results = {kind: host.wait_end().result for kind, host in hosts.items()}
    assert results == dict.fromkeys(scenes, "watchdog")


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("user", EACH_USER)
def test_stopped_target_is_found_in_a_hardened_unit(
    systemd: SystemdHost, port: str, user: str
) -> None:
    """That it is stopped is seen in /proc, or told by wait(2) where that is hidden."""
    settings: dict[str, Any] = {**STRICT, **USERS[user], "wrapper": WRAPPER}
    options = ["--ready", f"listen:{port}", "--live", "alive"]
    assert systemd.start(options, [*SERVER, port], watchdog_s=1.0, **settings).ok
    systemd.freeze_target()
    assert systemd.wait_end().result == "watchdog"


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_foreign_listener_is_seen_through_in_a_hardened_unit(
    systemd: SystemdHost, port: str
) -> None:
    """Whose socket it is must be known without seeing anybody else's processes."""
    systemd.run_outside(["/usr/bin/python3", "-I", "-S", f"{HOME}/server.py", port])
    settings: dict[str, Any] = {**STRICT, "DynamicUser": "yes", "wrapper": WRAPPER}
    target = [*SERVER, "--stubborn", port]
    systemd.start(["--probe", f"tcp:{port}"], target, wait=False, **settings)
    systemd.wait_status(rf"waiting for tcp:{port}.*held by another")
    assert systemd.state == "activating"


@pytest.mark.usefixtures("home")
def test_unit_without_af_unix_is_told_so_in_one_line(systemd: SystemdHost, port: str) -> None:
    """Nothing can be said to systemd then: better no start than one that times out."""
    settings = {"RestrictAddressFamilies": "AF_INET AF_INET6", "wrapper": WRAPPER}
    started = systemd.start(["--probe", f"tcp:{port}"], [*SERVER, port], **settings)
    assert not started.ok
    assert systemd.wait_end() == ("exit-code", "exited", 125)
    systemd.wait_line("notifywrap: .*RestrictAddressFamilies= lacks AF_UNIX")
    assert "listening" not in systemd.journal(), "the target was not started"
    assert systemd.pids() == []


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("options", [(), ("--main", "target")], ids=["wrapper", "beside"])
def test_unit_without_pipes_is_told_so_in_one_line(
    systemd: SystemdHost, port: str, options: tuple[str, ...]
) -> None:
    """@ipc sounds like System V, and has pipe(2) in it: many a hardened unit denies it."""
    settings = {
        "NotifyAccess": "all",
        "SystemCallFilter": ["@system-service", "~@ipc"],
        "SystemCallErrorNumber": "EPERM",
        "wrapper": WRAPPER,
    }
    started = systemd.start([*options, "--probe", f"tcp:{port}"], [*SERVER, port], **settings)
    assert not started.ok
    assert systemd.wait_end() == ("exit-code", "exited", 125)
    systemd.wait_line("notifywrap: .*SystemCallFilter= forbids pipe2")
    assert "listening" not in systemd.journal(), "the target was not started"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("user", EACH_USER)
def test_the_probes_of_log_descriptor_and_resources_work_in_a_hardened_unit(
    systemd: SystemdHost, user: str
) -> None:
    """Their pipes need no rights, and what they read of /proc is there with ProcSubset=pid."""
    settings: dict[str, Any] = {**STRICT, **USERS[user], "wrapper": WRAPPER}
    ready = ["log:^up$", "fd:5", "rss:1G", "fds:80"]
    options = [word for probe in ready for word in ("--ready", probe)]
    target = ["/bin/sh", "-c", "echo up; echo >&5; exec sleep 1000"]
    assert systemd.start(options, target, watchdog_s=1.0, **settings).ok, systemd.journal()
    systemd.wait_fed_for(0.5)
    assert "cannot" not in systemd.journal()


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_without_proc_the_resource_probes_say_so(systemd: SystemdHost) -> None:
    """A limit that nobody can check must not look as if it were kept."""
    settings: dict[str, Any] = {"InaccessiblePaths": "/proc", "wrapper": WRAPPER}
    for probe in ("rss:1G", "fds:80"):
        systemd.start(["--ready", probe], ["/bin/sleep", "1000"], wait=False, **settings)
        systemd.wait_status(f"waiting for {probe}.*there is no /proc")
        systemd.unit.stop()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("kind", ["tcp", "listen"])
def test_without_proc_its_own_port_is_no_strangers(
    systemd: SystemdHost, port: str, kind: str
) -> None:
    """Nobody can look whose socket it is: the user id has to do, and is the target's own."""
    started = systemd.start(
        ["--probe", f"{kind}:{port}"], [*SERVER, port], InaccessiblePaths="/proc", wrapper=WRAPPER
    )
    assert started.ok, systemd.journal()
    assert "held by" not in systemd.journal()


@pytest.mark.usefixtures("home")
def test_without_proc_zero_config_says_what_it_cannot_see(systemd: SystemdHost, port: str) -> None:
    """It goes by what has come after the start, and a fast target is there before the first look:
    then somebody has to name the probe, and is told why."""
    settings: dict[str, Any] = {"InaccessiblePaths": "/proc", "wrapper": WRAPPER}
    systemd.start([], ["/bin/sleep", "1000"], wait=False, **settings)
    systemd.wait_status("waiting for the target to listen: .*hidden from us.*--ready")


@pytest.mark.slow
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("kind", ["tcp", "listen"])
def test_a_target_with_capabilities_of_its_own_is_known_where_proc_hides_it(
    systemd: SystemdHost, port: str, kind: str
) -> None:
    """ProtectProc=invisible hides what one may not trace, and setcap(8) makes it that."""
    interpreter = systemd.lab.root / HOME[1:] / "python-with-capability"
    if not interpreter.exists():
        interpreter.write_bytes(Path(PYTHON[0]).read_bytes())
        interpreter.chmod(0o755)
        # CAP_NET_BIND_SERVICE, permitted and effective: capabilities(7), struct vfs_cap_data
        capability = struct.pack("<5I", 0x2000001, 1 << 10, 0, 0, 0)
        os.setxattr(interpreter, "security.capability", capability)
    target = [f"{HOME}/{interpreter.name}", *SERVER[1:], port]
    settings = {"User": "nobody", "ProtectProc": "invisible", "wrapper": WRAPPER}
    started = systemd.start(["--probe", f"{kind}:{port}"], target, **settings)
    assert started.ok, systemd.journal()
    assert "held by" not in systemd.journal()
