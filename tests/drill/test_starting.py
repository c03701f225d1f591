"""A unit is not killed while systemd's own process sets up its sandbox."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from notifywrap.testing.lab import Lab

pytestmark = pytest.mark.systemd

WAIT = """\
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from notifywrap.drill.starting import wait_for_exec
wait_for_exec(sys.argv[2:])
find = "readlink /proc/$(systemctl show --value -p MainPID after.service)/exe"
subprocess.run(["sh", "-c", find])
"""
BEFORE = "[Service]\nType=oneshot\nExecStart=/bin/sleep 1\n"
AFTER = (
    "[Unit]\nAfter=before.service\n[Service]\nExecStart=/bin/sleep 1000\nProtectProc=invisible\n"
)


def test_a_start_that_is_queued_is_waited_for(lab: Lab) -> None:
    """It has no process yet: who looks for one would stop it while it gets one."""
    lab.install("before.service", BEFORE)
    lab.install("after.service", AFTER)
    lab.systemctl("start", "--no-block", "before.service", "after.service", check=True)
    command = (sys.executable, "-c", WAIT, REPOSITORY, "before.service", "after.service")
    said = lab.run(*command, check=True).stdout
    lab.systemctl("kill", "--signal=KILL", "after.service", check=True)
    assert said == "/usr/bin/sleep\n"


def test_what_is_not_being_started_is_not_waited_for(lab: Lab) -> None:
    """A unit that nobody knows, or that runs, is as it will be."""
    lab.install("before.service", BEFORE)
    command = (sys.executable, "-c", WAIT, REPOSITORY, "before.service", "no-such.service")
    assert lab.run(*command, timeout_s=4).returncode == 0
