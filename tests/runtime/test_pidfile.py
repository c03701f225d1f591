"""`--pidfile`: a target that daemonizes or re-executes itself is followed, reaped and mirrored."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from notifywrap.runtime.pidfile import PidFile
from tests.runtime.wrapped import (
    LIMIT_S,
    Inbox,
    Wrapped,
    is_gone,
    sleeper,
    state_of,
    status_of,
    target,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALIVE = ("--ready", "alive")


class Daemon(Wrapped):
    """tests/targets/daemon.py under the wrapper."""

    def __init__(self, path: Path, *how: str, inbox: Inbox | None = None) -> None:
        command = target("daemon", str(path), *how)
        super().__init__(command, "--pidfile", str(path), *ALIVE, inbox=inbox)

    def said(self, name: str) -> int:
        """The pid in its next line, which says who that is."""
        word, pid = self.line().split()
        assert word == name
        return int(pid)

    def ask(self, what: str) -> int:
        """Tell it to start another process; returns that one's pid."""
        self.tell(what)
        return self.said(what)

    def followed(self, pid: int) -> None:
        """Wait until the wrapper says that it follows this one."""
        assert self.process.stderr is not None
        while b"following process %d," % pid not in (text := self.process.stderr.readline()):
            assert text, "it ended"

    def leaves(self, pid: int) -> int:
        """Wait for the wrapper's end, which this one is to see; its returncode as Popen has it."""
        self.process.wait(LIMIT_S)
        assert not is_gone(pid)  # systemd's affair, as with a daemon that is not wrapped
        os.kill(pid, signal.SIGKILL)
        return self.end()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "daemon.pid"


# --- whom the file names --------------------------------------------------------------------------


@pytest.fixture
def child() -> Iterator[int]:
    """A living child of ours."""
    with subprocess.Popen(sleeper()) as process:
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    "text", ["{}\n", "{}", "       {}\n", "{}\r\n", "{}\n/var/lib/data\n5432\n"], ids=repr
)
def test_the_first_line_is_the_pid(path: Path, child: int, text: str):
    """nginx ends it with a newline and others do not, Postfix pads it, PostgreSQL writes more."""
    pidfile = PidFile(str(path))
    path.write_text(text.format(child))
    assert pidfile.find(()) == child
    assert pidfile.reason == ""


@pytest.mark.parametrize("text", ["", "\n", "none\n", "-1\n", "1 2\n", "9" * 30, "0\n", "²\n"])
def test_what_is_no_pid_names_nobody(path: Path, text: str):
    """-1 and 0 are everybody to kill(2), and a file that is being written is empty."""
    pidfile = PidFile(str(path))
    path.write_text(text)
    assert pidfile.find(()) == 0
    assert pidfile.reason


def test_only_a_child_that_the_target_left_to_us_is_believed(path: Path, child: int):
    """Whoever can write to the file must not have another process killed by the wrapper."""
    pidfile = PidFile(str(path))
    for pid in (1, os.getpid(), os.getppid(), 2**22 - 1):
        path.write_text(f"{pid}\n")
        assert pidfile.find(()) == 0
        assert f"names {pid}" in pidfile.reason
    path.write_text(f"{child}\n")
    assert pidfile.find({child}) == 0  # an exec probe of ours
    os.kill(child, signal.SIGKILL)
    until(lambda: state_of(child) == "Z", "it is dead")
    assert pidfile.find(()) == 0


def test_an_heir_that_comes_while_we_look_is_seen(
    path: Path, child: int, monkeypatch: pytest.MonkeyPatch
):
    """A daemon forks twice: the one in between may end when we have listed it, and not yet asked
    whether it lives. What it leaves is ours by then."""
    with subprocess.Popen(["true"]) as between:
        os.waitid(os.P_PID, between.pid, os.WEXITED | os.WNOWAIT)
        listings = iter([[between.pid]])
        both = [between.pid, child]
        monkeypatch.setattr("notifywrap.runtime.pidfile.children", lambda _: next(listings, both))
        file = PidFile(str(path))
        assert file.find_heirs(()) == [child]
        file.close()


def test_a_file_of_an_earlier_life_is_not_believed(path: Path, child: int):
    """Pids come again: after a boot the same number may well be another process of the tree."""
    path.write_text(f"{child}\n")
    pidfile = PidFile(str(path))
    assert pidfile.find(()) == 0
    assert "has not changed" in pidfile.reason
    path.unlink()
    path.write_text(f"{child}\n")
    assert pidfile.find(()) == child


def test_what_is_no_file_does_not_keep_us_waiting(path: Path):
    """Opening a fifo waits for a writer: the watchdog would be over by then."""
    pidfile = PidFile(str(path))
    assert pidfile.find(()) == 0
    assert "no such file" in pidfile.reason
    os.mkfifo(path)
    assert pidfile.find(()) == 0
    assert pidfile.reason == "is no file"


# --- a target that daemonizes ---------------------------------------------------------------------


def test_a_daemon_is_followed(path: Path, inbox: Inbox):
    """The process that was started ends with 0: that is not the end of the service."""
    with Daemon(path, inbox=inbox) as wrapper:
        pid = wrapper.said("daemon")
        wrapper.followed(pid)
        inbox.wait("READY")
        wrapper.signal(signal.SIGTERM)
        assert wrapper.end() == -signal.SIGTERM
        assert is_gone(pid)


def test_the_end_of_the_daemon_is_mirrored(path: Path):
    """It is reaped by us, so its exit status is known as if it had stayed in the foreground."""
    with Daemon(path) as wrapper:
        wrapper.followed(wrapper.said("daemon"))
        wrapper.tell("exit 5")
        assert wrapper.end() == 5


def test_a_daemon_that_is_killed_is_not_waited_for(path: Path):
    """Its workers live on, but they are no successors: the service is to be restarted now."""
    with Daemon(path) as wrapper:
        pid = wrapper.said("daemon")
        wrapper.followed(pid)
        worker = wrapper.ask("worker")
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        assert wrapper.leaves(worker) == -signal.SIGKILL
        assert time.monotonic() - began < 2.0


def test_a_target_that_stays_and_fails_is_mirrored_at_once(path: Path):
    """The option does not delay anything where there is nobody to follow."""
    with Daemon(path, "stay") as wrapper:
        assert wrapper.said("daemon") == wrapper.target_pid
        began = time.monotonic()
        wrapper.tell("exit 3")
        assert wrapper.end() == 3
        assert time.monotonic() - began < 2.0


def test_kill_9_of_the_wrapper_leaves_nothing(path: Path):
    """A daemon has no PDEATHSIG of its own, and its workers and heirs have none either."""
    with Daemon(path) as wrapper:
        wrapper.followed(wrapper.said("daemon"))
        pids = [wrapper.ask("worker"), int(path.read_text()), wrapper.ask("heir")]
        os.kill(pids[0], signal.SIGSTOP)
        wrapper.signal(signal.SIGKILL)
        until(lambda: all(map(is_gone, pids)), "all of them are gone")


def test_a_foreign_process_is_neither_followed_nor_ended(path: Path, child: int):
    """A pid file may lie: then the service fails, and says why."""
    with Daemon(path) as wrapper:
        pid = wrapper.said("daemon")
        wrapper.followed(pid)
        wrapper.tell(f"write {child}")
        assert wrapper.line() == "written"
        worker = wrapper.ask("worker")
        os.kill(pid, signal.SIGKILL)
        assert wrapper.leaves(worker) == -signal.SIGKILL
        assert f"{path}: it names {child}, which is no process that the target" in wrapper.errors
        assert not is_gone(child)


# --- a target that puts another in its place ------------------------------------------------------


@pytest.mark.parametrize("how", [(), ("stay",)], ids=["daemon", "foreground"])
def test_the_heir_is_followed_when_the_old_one_ends(path: Path, inbox: Inbox, how: tuple[str, ...]):
    """An upgrade without a gap: nginx and gunicorn start the new one beside the old one (USR2)."""
    with Daemon(path, *how, inbox=inbox) as wrapper:
        old = wrapper.said("daemon")
        inbox.wait("READY")
        heir = wrapper.ask("heir")
        assert path.read_text() == f"{heir}\n"
        os.kill(old, signal.SIGQUIT)
        wrapper.followed(heir)
        assert int(status_of(heir, "PPid")) == wrapper.pid
        assert state_of(old) == ""
        wrapper.signal(signal.SIGTERM)
        assert wrapper.end() == -signal.SIGTERM
        assert is_gone(heir)
        assert all("STOPPING" in message or "READY" not in message for message in inbox.drain())


def test_an_heir_that_fails_changes_nothing(path: Path):
    """An upgrade that is broken off: the old one is the target still, whoever the file named."""
    with Daemon(path, "stay") as wrapper:
        old = wrapper.said("daemon")
        heir = wrapper.ask("heir")
        os.kill(heir, signal.SIGKILL)
        until(lambda: state_of(heir) in ("", "Z"), "it has failed")
        wrapper.signal(signal.SIGTERM)
        assert wrapper.end() == -signal.SIGTERM
        assert is_gone(old)


@pytest.mark.slow
def test_nobody_who_is_named_in_time_is_said(path: Path, inbox: Inbox):
    """The tree has a process left, and the file is silent: there is a limit to waiting for it.

    Before READY=1 there is none but systemd's own.
    """
    with Daemon(path, "stay", inbox=inbox) as wrapper:
        wrapper.said("daemon")
        assert inbox.wait("READY", "1")
        worker = wrapper.ask("worker")
        path.unlink()
        wrapper.tell("exit 0")
        assert wrapper.leaves(worker) == 0
        assert f"{path}: cannot be read: no such file" in wrapper.errors
