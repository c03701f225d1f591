"""The target's own sd_notify, under the real systemd: heard through the wrapper, or not at all."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hosts import PYTHON, TARGETS, Outcome, poll
from open_home import WRAPPER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from systemd_host import SystemdHost

pytestmark = pytest.mark.systemd

OUTSIDER = """
import os, socket, sys
mouth = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
null = os.open(os.devnull, os.O_RDONLY)
for text in (b"READY=1\\nSTATUS=mine now", b"STOPPING=1", b"WATCHDOG=trigger", b"MAINPID=1") * 50:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, null.to_bytes(4, sys.byteorder) * 250)]
    mouth.sendmsg([text], rights, 0, "\\0" + sys.argv[1])
print("sent", flush=True)
sys.stdin.read()
"""


class Speaker:
    """tests/targets/speaker.py as the target of a service: it does what it is told to."""

    def __init__(self, host: SystemdHost, path: Path) -> None:
        self.host = host
        os.mkfifo(path)
        self._commands = os.open(path, os.O_RDWR)
        self.command = [*PYTHON, str(TARGETS / "speaker.py"), str(path)]

    def tell(self, command: str) -> None:
        os.write(self._commands, f"{command}\n".encode())

    def ask(self, command: str) -> None:
        """Tell it, and wait until it has done so; each command once."""
        self.tell(command)
        self.host.wait_line(f"^{re.escape(command)}$")

    def close(self) -> None:
        os.close(self._commands)


@pytest.fixture
def speaker(systemd: SystemdHost, tmp_path: Path) -> Iterator[Speaker]:
    one = Speaker(systemd, tmp_path / "commands")
    yield one
    one.close()


def test_descriptors_are_kept_over_a_restart(systemd: SystemdHost, speaker: Speaker) -> None:
    """What a daemon puts into systemd's store is there again in its next life: no client is lost.

    NotifyAccess=main is enough: it is the wrapper that speaks.
    """
    options = ["--ready", "notify"]
    speaker.tell("give 2 FDSTORE=1\\nFDNAME=one\\nREADY=1")
    speaker.tell("give 1 FDSTORE=1\\nFDNAME=two")
    assert systemd.start(options, speaker.command, restart="always", FileDescriptorStoreMax="9").ok
    poll(lambda: systemd.show("NFileDescriptorStore"), "3".__eq__, what="three in the store")
    speaker.ask("say FDSTOREREMOVE=1\\nFDNAME=two")
    poll(lambda: systemd.show("NFileDescriptorStore"), "2".__eq__, what="two in the store")
    speaker.tell("exit 1")
    systemd.wait_restart()
    systemd.wait_line("^started @ None False one:one kept:kept$")
    speaker.tell("say READY=1")
    systemd.wait_active()


def test_a_barrier_is_answered_by_systemd_alone(systemd: SystemdHost, speaker: Speaker) -> None:
    """Who waits for it wants to know that systemd has read all before it, not that we have."""
    systemd.start(["--ready", "alive"], speaker.command)
    os.kill(systemd.lab.pid, signal.SIGSTOP)
    try:
        speaker.tell("say ERRNO=28")
        speaker.tell("barrier")
        threading.Event().wait(0.3)
        assert "\nbarrier\n" not in systemd.journal()
    finally:
        os.kill(systemd.lab.pid, signal.SIGCONT)
    systemd.wait_line("^barrier$")
    assert systemd.show("StatusErrno") == "28"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="root"),
        pytest.param({"User": "nobody"}, id="nobody"),
        pytest.param(
            {"User": "nobody", "ProtectProc": "invisible", "ProcSubset": "pid",
             "PrivateUsers": "yes", "PrivateNetwork": "yes", "NoNewPrivileges": "yes"},
            id="hardened",
        ),
    ],
)  # fmt: skip
def test_a_start_script_is_heard(systemd: SystemdHost, settings: dict[str, Any]) -> None:
    """`systemd-notify` is another process than the one systemd started, and ends at once."""
    script = "systemd-notify --ready --status=doing-fine; exec sleep 1000"
    settings = {**settings, "wrapper": WRAPPER}
    assert systemd.start(["--ready", "notify"], ["/bin/sh", "-c", script], **settings).ok
    systemd.wait_status("doing-fine")
    assert "ignored" not in systemd.journal()


@pytest.mark.slow
def test_a_target_whose_own_pings_stop_is_restarted(
    systemd: SystemdHost, speaker: Speaker, port: str
) -> None:
    """It knows of a deadlock that its port does not show; and while both are well, it lives."""
    speaker.tell(f"listen {port}")
    speaker.tell("ping 0.2")
    systemd.start(["--probe", f"tcp:{port}"], speaker.command, watchdog_s=1.0, restart="always")
    systemd.wait_fed_for(1.1)
    speaker.ask("ping 0")
    muted_at = time.monotonic()
    result, at = systemd.wait_restart()
    assert result == "watchdog"
    assert at - muted_at < 1.0 + 0.5
    assert "has not pinged for" in systemd.journal()


def test_a_target_that_asks_for_its_end_gets_it(systemd: SystemdHost, speaker: Speaker) -> None:
    """WATCHDOG=trigger: it has found a fault in itself, WatchdogSec= or not."""
    systemd.start(["--ready", "alive"], speaker.command)
    speaker.tell("say WATCHDOG=trigger")
    assert systemd.wait_end() == Outcome("watchdog", "killed", 6)


@pytest.mark.slow
def test_time_is_asked_for_while_starting(systemd: SystemdHost, speaker: Speaker) -> None:
    """A database that recovers knows best how long it takes: systemd waits as it is asked to."""
    systemd.start(["--ready", "notify"], speaker.command, start_timeout_s=0.7, wait=False)
    speaker.ask("say EXTEND_TIMEOUT_USEC=9000000")
    over = systemd.started_at + 1.0
    poll(time.monotonic, lambda now: now > over, what="more than TimeoutStartSec=")
    speaker.tell("say READY=1")
    systemd.wait_active()


def test_it_cannot_take_the_service_over(systemd: SystemdHost, speaker: Speaker) -> None:
    """An intruder in the daemon must not make another process the one that systemd watches."""
    systemd.start(["--ready", "alive"], speaker.command, watchdog_s=30.0)
    before = systemd.unit.show("MainPID", "NotifyAccess", "WatchdogUSec", "ControlGroup")
    speaker.ask("say MAINPID=1\\nNOTIFYACCESS=all\\nWATCHDOG_USEC=1")
    speaker.ask("child MAINPID=1\\nSTATUS=by a child\\rWATCHDOG_USEC=0")
    speaker.ask("barrier")
    assert systemd.unit.show(*before) == before
    systemd.wait_status("by a child")


def test_who_is_outside_is_not_heard(systemd: SystemdHost, speaker: Speaker) -> None:
    """The socket has an abstract address: every process in the network namespace can send to it."""
    systemd.start(["--ready", "notify"], speaker.command, wait=False)
    systemd.wait_line("^started @")
    descriptors = f"/proc/{systemd.wrapper_pid}/fd"
    environ = Path(f"/proc/{systemd.target_pid}/environ").read_text()
    address = re.search(r"NOTIFY_SOCKET=@(\w+)", environ)
    assert address
    before = len(os.listdir(descriptors))
    systemd.run_outside([*PYTHON, "-c", OUTSIDER, address[1]])
    speaker.ask("barrier")  # all before it was read
    assert systemd.state == "activating"
    assert "mine now" not in systemd.status
    assert systemd.journal().count("not of the target's tree") == 1
    poll(lambda: len(os.listdir(descriptors)), before.__eq__, what="no descriptor left")
    speaker.tell("say READY=1")
    systemd.wait_active()


def test_a_reload_of_its_own_is_seen(systemd: SystemdHost, speaker: Speaker) -> None:
    """A daemon that finds its files changed reloads by itself: what is ordered after it waits."""
    systemd.start(["--ready", "alive"], speaker.command)
    speaker.ask("say RELOADING=1\\nMONOTONIC_USEC=1")
    systemd.wait_state("reloading")
    speaker.ask("say READY=1")
    systemd.wait_state("active")


def test_it_says_that_it_stops(systemd: SystemdHost, speaker: Speaker) -> None:
    """STOPPING=1 is the end of the watchdog: a daemon that drains is not killed for being slow."""
    systemd.start(["--ready", "alive"], speaker.command, watchdog_s=0.5)
    speaker.ask("say STOPPING=1")
    systemd.wait_state("deactivating")
    speaker.tell("exit 0")
    assert systemd.wait_end() == Outcome("success", "exited", 0)
