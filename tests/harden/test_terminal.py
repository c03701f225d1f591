"""harden as somebody sees it who sits before it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.harden.conftest import install_victim

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(120)]

COMMAND = ("/usr/local/bin/notifywrap", "harden", "--json", "victim.service")


@pytest.fixture
def place(machine: Callable[..., Machine]) -> Machine:
    place = machine("notifywrap@")
    install_victim(place)
    return place


def read_until(fd: int, words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        seen += os.read(fd, 65536)
    return seen


def test_a_bar_shows_how_far_it_is_and_ctrl_c_keeps_what_is_proven(place: Machine) -> None:
    """Nobody waits for a minute without it, and who has seen enough wants the result."""
    ours, theirs = pty.openpty()
    process = place.lab.popen(*COMMAND, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    said = read_until(ours, b"round 3 of about")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert b"is started under another name" in said.split(b"[#")[0], "said before anything runs"
    assert b"s left, exposure 9" in said
    assert process.returncode == 130
    document = json.loads(out)
    assert document["interrupted"]
    assert document["untried"]
    assert "ProtectSystem" in [each["name"] for each in document["kept"]]
    assert "ProtectSystem=strict" in document["files"]["victim.service.d/50-harden.conf"]


def test_a_service_that_runs_is_left_alone(place: Machine) -> None:
    """Its ports would be taken, and a copy of what somebody writes is none."""
    with place.started("victim.service") as unit:
        unit.start()
        pids = unit.pids()
        done = place.lab.run(*COMMAND)
        assert done.returncode == 125
        assert "`systemctl stop victim.service` while this runs, or use --lab" in done.stdout
        assert unit.pids() == pids
