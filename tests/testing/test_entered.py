"""Commands in a lab as processes of one's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.systemd, pytest.mark.usefixtures("lab")]


def test_popen_is_a_process_inside(lab):
    """For clients that talk to a service while the test goes on."""
    client = lab.popen(
        "sh",
        "-c",
        "echo ready; read line; echo got $line",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout.readline() == "ready\n"
    assert client.communicate("this\n", timeout=10)[0] == "got this\n"
    assert client.returncode == 0


@pytest.mark.parametrize("name", ["TERM", "KILL", "INT"])
def test_a_signal_reaches_the_command(lab, name):
    """As of any process that is one's own; also of a stopped one."""
    client = lab.popen("sh", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE, text=True)
    assert client.stdout.readline() == "ready\n"
    client.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, client.pid, os.WSTOPPED | os.WNOWAIT)  # nsenter does as it does
    signum = getattr(signal, f"SIG{name}")
    client.send_signal(signum)
    if name != "KILL":
        client.send_signal(signal.SIGCONT)
    client.communicate(timeout=10)
    assert client.returncode == -signum


# Orphans go to it, and stay zombies: as with a pid 1 that reaps nobody, in a container.
NEGLIGENT = """
import ctypes, subprocess, time
from notifywrap.testing.lab import Lab
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
with Lab() as lab:
    with lab.popen("sleep", "1000") as client:
        client.kill()
    for end in (client.terminate, client.kill_group):
        end()  # it has ended: nothing
    for _ in range(10):
        try:
            lab.run("sh", "-c", "sleep 4242 & sleep 4242", timeout_s=0.02)
        except subprocess.TimeoutExpired:
            pass
print("down")
"""


def test_the_lab_ends_where_orphans_are_not_reaped():
    """A command that outlived its nsenter would keep the kernel from ending it."""
    words = [sys.executable, "-c", NEGLIGENT]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("down\n", "")


def test_the_limit_holds_when_a_child_has_the_output(lab):
    """The command has ended, and nsenter with it: there is the group to kill all the same."""
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        lab.run("sh", "-c", "sleep 100 & exit 0", timeout_s=0.3)
    assert time.monotonic() - began < 50


def test_a_command_that_has_just_been_stopped_can_be_killed(lab):
    """nsenter does as it does, a moment later."""
    for _ in range(50):
        with lab.popen("sleep", "1000") as client:
            client.send_signal(signal.SIGSTOP)
            client.kill()
        assert client.returncode == -signal.SIGKILL
