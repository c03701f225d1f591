"""`notifywrap reload PID`: what it says when it cannot even ask."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from notifywrap.runtime.control import address_of


def reload(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "notifywrap", "reload", *words],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "ExecReload=notifywrap reload $MAINPID"),
        (("",), "ExecReload=notifywrap reload $MAINPID"),
        (("0",), "'0' is not a process id"),
        (("-1",), "-1: unknown option"),
        (("99999999999",), "is not a process id"),
        (("1", "2"), "one PID, not 2 words"),
        (("--timeout", "soon", "1"), "--timeout"),
    ],
)
def test_misuse_is_told_with_the_line_that_is_right(words, told):
    """An unset $MAINPID leaves no word at all: the fix is the same."""
    done = reload(*words)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_process_that_is_no_wrapper_is_not_asked():
    """`notifywrap reload $MAINPID` in a unit that does not run notifywrap: a line, no signal."""
    done = reload(str(os.getpid()))
    assert (done.returncode, done.stdout) == (1, "")
    assert "it is not a notifywrap" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_pid_that_is_gone_is_said_to_be_gone():
    """After a crash $MAINPID may be stale."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    done = reload(str(gone.pid))
    assert done.returncode == 1
    assert "there is no such process" in done.stderr


def test_nobody_else_can_answer_for_a_wrapper():
    """The name is anybody's to take: who listens is told by the kernel."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as squatter:
        squatter.bind(address_of(1))
        squatter.listen()
        done = reload("1")
    assert done.returncode == 1
    assert "another process answers for it" in done.stderr


def test_it_waits_no_longer_than_it_is_told_to():
    """By hand there is no systemd that would end it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.bind(address_of(os.getpid()))
        silent.listen()
        done = reload("--timeout", "50ms", str(os.getpid()))
    assert done.returncode == 1
    assert "not ready again after 0.05 s" in done.stderr
