"""Whole units under the real systemd: what is left in them, and that nothing else is touched."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import REPOSITORY
from tests.drill.place import CONFIGURATION, DRILL
from tests.drill.units import CAGED, FIRST, OPEN, ROOTED, TIGHT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.drill.place import Place

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

LIMIT_S = 20.0
NEEDED = {"write /tmp", "write state dir", "write acme.json", "start a thread", "socket AF_INET"}
REACHES = {"connect backend"}


def wait_for(found: Callable[[], object], *, gone: bool = False) -> None:
    deadline = time.monotonic() + LIMIT_S
    while bool(found()) is gone:
        assert time.monotonic() < deadline, found()
        time.sleep(0.02)


def test_a_tight_unit_leaves_what_directives_cannot_take(place: Place):
    """Python, new processes and sockets are what the jail is for."""
    assert place.judge("tight", TIGHT).counted() == NEEDED | REACHES | {
        "read /etc/passwd",
        "fork a process",
        "exec python",
        "socket AF_UNIX",
        "bind :18081",
        "connect other local port",
        "fake READY to notify socket",
    }


def test_the_jail_of_a_unit_is_entered(place: Place):
    """With its variables: ${STATE_DIRECTORY} is the throwaway one."""
    result = place.judge("caged", CAGED)
    assert result.counted() == NEEDED | REACHES | {"read /etc/passwd"}
    remarks = " ".join(result.told["remarks"])
    assert "nothing is executed but /usr/local/bin/hello" in remarks


def test_a_root_directory_of_its_own_takes_one_more(place: Place):
    """And the attempts run in it, though this package is not there."""
    assert place.judge("rooted", ROOTED).counted() == NEEDED | REACHES
    left = [each.name for each in (place.lab.root / "srv/empty").rglob("notifywrap-drill*")]
    assert left == [], "mount points of the throwaway unit's directories"


def test_root_in_a_strict_sandbox_is_not_contained(place: Place):
    """The unit that looks hardened: what it forbids and what it does not."""
    result = place.judge("first", FIRST)
    assert result.told["uid"] == 0
    assert len(result.counted()) > 40
    for name in ("connect PID1 private bus", "mount tmpfs", "write acme.json", "reboot"):
        assert result.allowed[name], name
    for name in ("write /etc/x", "see host /tmp", "list /root", "mknod blk", "rw wrapper memory"):
        assert not result.allowed[name], name


def test_what_the_unit_forbids_with_death_is_denied(place: Place):
    """Without SystemCallErrorNumber= a filter kills whoever tries."""
    text = f"{OPEN}DynamicUser=yes\nSystemCallFilter=@system-service\n"
    result = place.judge("deadly", text)
    assert result.reasons["mount tmpfs"] == "killed by SIGSYS"
    assert not result.allowed["mount tmpfs"]


def test_a_socket_by_io_uring_goes_around_a_filter(place: Place):
    """RestrictAddressFamilies= is one of system calls; io_uring makes none. Only without io_uring,
    which is in @aio, it holds."""
    text = f"{OPEN}User=nobody\nRestrictAddressFamilies=AF_UNIX AF_INET\n"
    result = place.judge("families", text)
    assert not result.allowed["socket AF_NETLINK"]
    assert result.allowed["socket AF_NETLINK by io_uring"]
    closed = f"{text}SystemCallFilter=~@aio\nSystemCallErrorNumber=EPERM\n"
    assert not place.judge("no-aio", closed).allowed["socket AF_NETLINK by io_uring"]


def test_a_program_that_runs_cannot_be_changed_on_a_read_only_mount(place: Place):
    """The kernel says "busy" before it says "read-only"; Python is what makes the attempts."""
    text = "[Service]\nExecStart=/usr/bin/python3 -m http.server\n"
    assert place.judge("loose", text).allowed["modify own binary"], "by root, in its own time"
    result = place.judge("strict", f"{text}ProtectSystem=strict\n")
    assert result.reasons["modify own binary"] == "EROFS"
    assert not result.allowed["modify own binary"]


def test_a_limit_on_processes_holds_for_the_attempts(place: Place):
    """Though the drill itself has to fork for each of them."""
    text = f"{OPEN}User=nobody\nLimitNPROC=1\n"
    result = place.judge("limited", text)
    assert result.reasons["fork a process"] == "EAGAIN"
    assert result.reasons["start a thread"] == "EAGAIN"


def test_the_wrapper_is_as_closed_as_notifywrap_is(place: Place):
    """The same user, no sandbox: only that it is undumpable keeps its memory from the target."""
    result = place.judge("wrapped", f"{OPEN}User=nobody\n")
    assert result.allowed["ptrace attach"], "of a neighbour"
    for name in ("rw wrapper memory", "ptrace the wrapper", "process_vm_writev on the wrapper"):
        assert not result.allowed[name], name


def test_what_is_dropped_is_removed_from_where_it_lies(place: Place):
    """What is /tmp inside may be another directory outside."""
    shared = place.lab.root / "srv/shared"
    shared.mkdir()
    result = place.judge("bound", f"{OPEN}BindPaths=/srv/shared:/tmp\n")
    assert result.allowed["exec dropped file in /tmp"]
    assert list(shared.iterdir()) == []


def test_nothing_outside_is_changed_where_all_is_allowed(place: Place):
    """It is run as root, on machines that people need."""

    def world() -> dict[str, object]:
        root = place.lab.root
        directories = "/etc /etc/hello /usr/local/bin /var/lib /root /tmp /var/tmp"
        shown = ("hostname", "mount", "ip addr", "systemctl list-units --all --no-legend --plain",
                 f"find {directories} -maxdepth 2 -printf '%p %m %s %T@\n'")  # fmt: skip
        told: dict[str, object] = {each: place.lab.run("sh", "-c", each).stdout for each in shown}
        told["core_pattern"] = (root / "proc/sys/kernel/core_pattern").read_text()
        told["configuration"] = (root / CONFIGURATION).read_bytes()
        return told

    unit = place.write("open", OPEN)
    before = world()
    assert place.run(unit).returncode == 0
    after = world()
    directories = ("/etc ", "/etc/hello ", "/usr/local/bin ", "/var/lib ", "/tmp ", "/var/tmp ")
    for key in before:  # but for the time when a directory was last changed
        lines = [
            {line for line in str(told[key]).splitlines() if not line.startswith(directories)}
            for told in (before, after)
        ]
        assert lines[0] == lines[1], key
    assert place.traces() == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_ended_in_the_middle(place: Place, signum: signal.Signals):
    """By ctrl-C, by the shell that it ran in, or by the kernel."""
    drill = caught_in_the_middle(place)
    for pid in map(int, subprocess.check_output(["pgrep", "-g", str(drill.pid)]).split()):
        if pid != drill.pid:  # nsenter ends as drill does
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
    drill.wait(LIMIT_S)
    wait_for(place.traces, gone=True)


def caught_in_the_middle(place: Place) -> subprocess.Popen[Any]:
    """A drill whose attempts are under way: its state directory is made just before them.

    On a busy machine one may be over before we look.
    """
    unit = place.write("open", f"{OPEN}StateDirectory=hello\n")
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        drill = place.lab.popen(*DRILL, unit, env={"PYTHONPATH": str(REPOSITORY)})
        while drill.poll() is None:
            if list((place.lab.root / "var/lib").glob("notifywrap-drill-*/*-kept")):
                return drill
            time.sleep(0.005)
    raise AssertionError("none was ever seen under way")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("User=no-such-user", "217/USER"),
        ("ReadWritePaths=/no/such/path", "226/NAMESPACE"),
        ("RootDirectory=/srv/empty", "203/EXEC"),
        ("SystemCallFilter=read write", "SIGSYS"),
    ],
)
def test_a_sandbox_that_cannot_be_entered_is_explained(place: Place, lines: str, expected: str):
    """One line, and nothing left."""
    done = place.run(place.write("broken", f"{OPEN}{lines}\n"))
    assert done.returncode == 125
    assert expected in done.stdout
    assert done.stdout.strip().count("\n") == 0
    assert place.traces() == []
