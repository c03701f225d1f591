"""`--main target`: what was started becomes the target; beside it a sidecar tells systemd."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.test_broken import sabotage
from tests.runtime.test_world import seen
from tests.runtime.wrapped import (
    START,
    Inbox,
    Wrapped,
    command_line,
    is_gone,
    running,
    sleeper,
    state_of,
    status_of,
    target,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
NOBODY = 65534

MAIN = ("--main", "target")
ALIVE = ("--ready", "alive")
PRINT = [sys.executable, "-IS", "-c"]

_numbers = itertools.count()


class Beside(Wrapped):
    """A target that was started with `--main target`: `process` is the target."""

    def __init__(
        self, command: Sequence[str], *options: str, start: str = START, **more: object
    ) -> None:
        start += f"# {os.getpid()}-{next(_numbers)}\n"  # like no other's, of tests beside this one
        super().__init__(command, *MAIN, *options, start=start, **more)  # type: ignore[arg-type]
        self._target = self.pid
        # What the target is executed over: whoever runs it still is the sidecar, or is about to be.
        self._words = command_line(*MAIN, *options, "--", *command, start=start)

    @property
    def sidecar(self) -> int:
        """The sidecar's pid."""
        others = until(self.sidecars, "there is a sidecar")
        assert len(others) == 1
        return others[0]

    def sidecars(self) -> list[int]:
        """Not the one that forked it, nor a probe of its own that is about to be executed."""
        found = running(self._words)
        return [pid for pid in found if pid != self.pid and ppid_of(pid) not in (self.pid, *found)]

    def __exit__(self, *about: object) -> None:
        super().__exit__(*about)
        until(lambda: not running(self._words), "the sidecar is gone")


def ppid_of(pid: int) -> int:
    return int(status_of(pid, "PPid") or 0)


@pytest.fixture
def beside(inbox: Inbox) -> Iterator[Beside]:
    """A target that does nothing, with its sidecar, once systemd was told that it is ready."""
    with Beside(["sleep", "1000"], *ALIVE, inbox=inbox, watchdog_s=0.4) as both:
        inbox.wait("READY")
        yield both


# --- the target -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["cat", "/proc/self/environ"], id="environment"),
        pytest.param(["cut", "-d", " ", "-f", "4-8", "/proc/self/stat"], id="parent and session"),
        pytest.param(["stat", "-c", "%u:%g", "/proc/self/maps"], id="dumpable"),
        pytest.param(  # not SigQ: what is queued for all processes of the user
            ["grep", "-E", "^(Umask|Uid|Gid|Groups|Sig[^Q]|Shd|Cap|NoNewPrivs|Seccomp)",
             "/proc/self/status"],
            id="umask, ids, signal masks and dispositions, pending signals",
        ),
    ],
)  # fmt: skip
def test_the_target_finds_what_a_direct_start_would_give_it(command: list[str]):
    """It is executed over the very process that systemd has made: nothing is to be different."""
    expected = seen(command, wrapped=False)
    assert seen(command, wrapped=True, options=MAIN) == expected
    assert expected


def test_the_target_has_the_pid_that_systemd_knows():
    """MAINPID, LISTEN_PID and SYSTEMD_EXEC_PID name it, and it has them right without our help."""
    code = (
        "import os\n"
        "print(*(os.environ[name] for name in ('LISTEN_PID', 'SYSTEMD_EXEC_PID')), os.getpid())"
    )
    start = (
        "import os\nos.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='0',"
        " SYSTEMD_EXEC_PID='4')\n" + START
    )
    with Beside([*PRINT, code], start=start) as both:
        assert both.line().split() == [str(both.pid)] * 3
        assert both.end() == 0


def test_the_target_has_no_child_that_it_has_not_made():
    """A server that waits for any child of its own would get to hear of ours."""
    code = (
        "import os\n"
        "try:\n"
        "    print(os.waitpid(-1, 0))\n"
        "except ChildProcessError:\n"
        "    print('none')\n"
    )
    with Beside([*PRINT, code]) as both:
        assert both.line() == "none"


def test_what_cannot_be_executed_is_said_by_the_one_that_systemd_started(inbox: Inbox):
    """The exit status is the first thing that anybody looks at, and nobody else could give it."""
    with Beside(["/nowhere/to/be/found"], *ALIVE, inbox=inbox) as both:
        assert both.end() == 127
        assert both.errors.count("\n") == 1
        assert "cannot start '/nowhere/to/be/found': no such file" in both.errors
    assert [message for message in inbox.drain() if "READY" in message] == []


def test_a_kernel_that_cannot_tell_of_the_targets_end_is_refused(inbox: Inbox):
    """A sidecar that does not see it would ping for a dead target, or for a stranger."""
    start = f"""\
import errno, os
def refuse(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
os.pidfd_open = refuse
{START}"""
    command = sleeper()
    with Beside(command, start=start) as both:
        assert both.end() == 125
        assert "needs Linux 5.3" in both.errors
    assert running(command) == []


# --- the sidecar ----------------------------------------------------------------------------------


def test_the_sidecar_tells_systemd(inbox: Inbox):
    """READY=1 and pings come from a process that is not the main one: NotifyAccess=all."""
    inbox.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    with Beside(["sleep", "1000"], *ALIVE, inbox=inbox, watchdog_s=0.4) as both:
        data, ancillary, _, _ = inbox.socket.recvmsg(4096, 64)
        while b"READY=1" not in data:
            data, ancillary, _, _ = inbox.socket.recvmsg(4096, 64)
        assert int.from_bytes(ancillary[0][2][:4], sys.byteorder) == both.sidecar
        inbox.wait("WATCHDOG")
        inbox.wait("WATCHDOG")


def test_the_sidecar_ends_with_the_target_and_says_nothing_of_how(inbox: Inbox):
    """It is no parent: what it would say of the exit status would be made up."""
    probe = sleeper()
    with Beside(target("end"), "--ready", f"exec:{' '.join(probe)}", inbox=inbox) as both:
        sidecar = both.sidecar
        until(lambda: running(probe), "a probe runs")
        both.tell("exit 3")
        assert both.process.wait() == 3
        until(lambda: is_gone(sidecar), "the sidecar has ended", 2.0)
        assert running(probe) == []
        assert all("exit" not in message.get("STATUS", "") for message in inbox.drain())


def test_no_signal_but_kill_ends_the_sidecar(beside: Beside, inbox: Inbox):
    """systemd signals the whole cgroup: the pings of a target that lives on would be over."""
    fatal = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
    for signum in signal.valid_signals() - fatal - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
        os.kill(beside.sidecar, signum)
    inbox.drain()
    inbox.wait("WATCHDOG")
    inbox.wait("WATCHDOG")
    assert state_of(beside.pid) == "S"


def test_without_the_sidecar_there_are_no_pings(beside: Beside, inbox: Inbox):
    """The OOM killer may take it: then nobody knows whether the target works, and systemd acts."""
    sidecar = beside.sidecar
    os.kill(sidecar, signal.SIGKILL)
    until(lambda: is_gone(sidecar), "the sidecar is gone")
    inbox.drain()
    with pytest.raises(TimeoutError):
        inbox.next(0.5)
    assert not is_gone(beside.pid)


def test_a_stopped_target_gets_no_pings(beside: Beside, inbox: Inbox):
    """The sidecar has no word of its parent's for it, and must look for itself."""
    os.kill(beside.pid, signal.SIGSTOP)
    inbox.wait("STATUS", "stopped")
    assert [message for message in inbox.drain() if "WATCHDOG" in message] == []


def test_the_sidecar_keeps_nothing_open_of_the_targets(inbox: Inbox):
    """Whoever reads the target's output would wait for the sidecar's end, and a socket that the
    target has closed would go on listening."""
    with socket.socket() as given:
        os.set_inheritable(given.fileno(), True)
        inode = f"socket:[{os.fstat(given.fileno()).st_ino}]"
        with Beside(["sleep", "1000"], *ALIVE, inbox=inbox, close_fds=False) as both:
            inbox.wait("READY")
            links = links_of(both.sidecar)
            assert links[0] == links[1] == os.devnull
            assert links[2] == links_of(both.pid)[2]
            assert inode in links_of(both.pid).values()
            assert inode not in links.values()


def links_of(pid: int) -> dict[int, str]:
    return {int(fd.name): os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}


@as_root
def test_the_sidecars_memory_is_not_for_the_target():
    """They are the same user: a target that could write there could make it say what it likes."""
    with Beside(["sleep", "1000"], user=NOBODY, group=NOBODY, extra_groups=[]) as both:
        assert os.stat(f"/proc/{both.sidecar}/mem").st_uid == 0
        until(lambda: os.stat(f"/proc/{both.pid}/mem").st_uid == NOBODY, "the target is its own")


def test_a_failure_of_the_sidecar_is_not_the_targets(inbox: Inbox):
    """A bug of ours must not take a healthy service down that is not even our child."""
    start = sabotage("from notifywrap import probes; probes.open_attempt = fail")
    with Beside(["sleep", "1000"], *ALIVE, inbox=inbox, start=start) as both:
        assert both.process.stderr is not None
        said = both.process.stderr.readline() + both.process.stderr.readline()
        assert b"internal error" in said
        assert b"systemd acts after WatchdogSec=" in said
        until(lambda: not both.sidecars(), "the sidecar is gone")
        assert not is_gone(both.pid)


def test_the_targets_last_words_are_passed_on(inbox: Inbox):
    """They may tell why it has ended, and nobody else hears them."""
    code = (
        "import os, socket\n"
        "address = os.environ['NOTIFY_SOCKET'].replace('@', '\\0', 1)\n"
        "os.read(0, 1)\n"
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'ERRNO=28', address)\n"
    )
    with Beside([*PRINT, code], *ALIVE, inbox=inbox) as both:
        inbox.wait("READY")
        sidecar = both.sidecar
        os.kill(sidecar, signal.SIGSTOP)  # so that both come at once
        both.tell("")
        both.process.wait()
        os.kill(sidecar, signal.SIGCONT)
        inbox.wait("ERRNO", "28")
