"""Run by hand: the target is in front on the terminal, and the shell gets it back."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.runtime.wrapped import (
    LIMIT_S,
    TARGETS,
    clean_environment,
    command_line,
    state_of,
    target,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

CTRL_C, CTRL_Z, CTRL_BACKSLASH = b"\x03", b"\x1a", b"\x1c"


class Terminal:
    """A terminal with a job-control shell on it, which runs one job."""

    def __init__(self, *job: str) -> None:
        self.master, slave = os.openpty()
        commands, self.commands = os.pipe()
        self.reports, reports = os.pipe()
        self.shell = subprocess.Popen(
            [sys.executable, "-IS", str(TARGETS / "shell.py"), str(commands), str(reports), *job],
            stdin=slave, stdout=slave, stderr=slave, pass_fds=(commands, reports),
            start_new_session=True, env=clean_environment(TERM="dumb"),
        )  # fmt: skip
        for fd in (slave, commands, reports):
            os.close(fd)
        self.shown = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for job in self.children(self.shell.pid):
            for pid in (*self.children(job), job):
                with contextlib.suppress(ProcessLookupError):  # the wrapper ends with its target
                    os.kill(pid, signal.SIGKILL)
        self.shell.kill()
        self.shell.wait()
        for fd in (self.master, self.commands, self.reports):
            os.close(fd)

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def command(self, word: str) -> None:
        os.write(self.commands, f"{word}\n".encode())

    def show(self, text: str) -> bytes:
        """Wait until the terminal shows *text*; returns what it has shown before that."""

        def look() -> bool:
            if select.select([self.master], [], [], 0)[0]:
                self.shown += os.read(self.master, 65536)
            return text.encode() in self.shown

        until(look, f"{text!r} on the terminal")
        before, _, self.shown = self.shown.partition(text.encode())
        return before

    def report(self) -> str:
        """What the shell says next."""
        assert select.select([self.reports], [], [], LIMIT_S)[0], f"a report; shown: {self.shown!r}"
        return os.read(self.reports, 4096).decode().strip()

    def children(self, pid: int) -> list[int]:
        try:
            with open(f"/proc/{pid}/task/{pid}/children") as file:
                return [int(word) for word in file.read().split()]
        except FileNotFoundError:  # it has ended
            return []


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    words = command_line("--log-level", "error", "--ready", "alive")
    with Terminal(*words, "--", *target("record_signals", "20")) as terminal:
        terminal.show("ready\r\n")
        yield terminal


@pytest.mark.parametrize(("key", "signum"), [(CTRL_C, 2), (CTRL_BACKSLASH, 3)])
def test_a_key_reaches_the_target_exactly_once(terminal: Terminal, key: bytes, signum: int):
    """Many daemons quit hard at the second ctrl-C: one must not become two."""
    for _ in range(3):
        terminal.type(key)
        terminal.show(f"{signum}\r\n")
    os.kill(terminal.children(terminal.shell.pid)[0], signal.SIGUSR1)
    assert f"{signum}\r\n".encode() not in terminal.show(f"{int(signal.SIGUSR1)}\r\n")


def test_ctrl_c_ends_the_target_and_the_shell_sees_death_by_int():
    """A shell that runs a script stops it only when its child died by INT."""
    with Terminal(*command_line("--ready", "alive", "--", *target("end"))) as terminal:
        terminal.show("ready\r\n")
        terminal.type(CTRL_C)
        assert terminal.report() == "ended -2 True"


def test_ctrl_z_stops_both_and_fg_goes_on(terminal: Terminal):
    """The shell must be back after ctrl-Z, with the terminal, and `fg` must bring it all back."""
    job = terminal.children(terminal.shell.pid)[0]
    daemon = terminal.children(job)[0]
    for _ in range(2):
        terminal.type(CTRL_Z)
        assert terminal.report() == "stopped True"
        assert (state_of(job), state_of(daemon)) == ("T", "T")
        terminal.command("fg")
        terminal.show("18\r\n")
        terminal.type(CTRL_C)
        terminal.show("2\r\n")


def test_bg_goes_on_without_taking_the_terminal(terminal: Terminal):
    """A job in the background must leave the shell in front, also at its end."""
    daemon = terminal.children(terminal.children(terminal.shell.pid)[0])[0]
    terminal.type(CTRL_Z)
    assert terminal.report() == "stopped True"
    terminal.command("bg")
    terminal.show("18\r\n")
    assert os.tcgetpgrp(terminal.master) == terminal.shell.pid
    os.kill(daemon, signal.SIGKILL)
    assert terminal.report() == "ended -9 False"


def test_a_stop_that_is_sent_stops_both_once(terminal: Terminal):
    """`kill -TSTP`: one `fg` is enough to go on."""
    job = terminal.children(terminal.shell.pid)[0]
    os.kill(job, signal.SIGTSTP)
    assert terminal.report() == "stopped True"
    terminal.command("fg")
    terminal.show("18\r\n")
    terminal.type(CTRL_C)
    terminal.show("2\r\n")
    assert state_of(job) != "T"


def test_the_terminal_is_back_after_the_end():
    """Else what comes next in the same script is stopped when it reads."""
    with Terminal(*command_line("--log-level", "error", "--", "sh", "-c", "exit 3")) as terminal:
        assert terminal.report() == "ended 3 True"


def test_the_terminal_is_back_when_nothing_could_be_started():
    """The child that was to be the target had it already."""
    with Terminal(*command_line("--", "/nonexistent/command")) as terminal:
        assert terminal.report() == "ended 127 True"


def test_messages_on_a_terminal_have_no_level_prefix():
    """<3> is for the journal; a person has no use for it."""
    with Terminal(*command_line("--", "/nonexistent/command")) as terminal:
        terminal.show("notifywrap: cannot start '/nonexistent/command': no such file\r\n")
        assert b"<" not in terminal.shown
