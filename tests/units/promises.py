"""What every unit of units/ promises, whatever runs in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import REPOSITORY
from tests.system.daemons import main_pid, target_pid

if TYPE_CHECKING:
    from tests.conftest import Unit
    from tests.units.machine import Machine

__all__ = ["QUICK", "assert_unprivileged", "say", "was_ended_by_watchdog"]

# A drop-in: the promise is about WatchdogSec=, whatever it is, and nobody should wait 30 s here.
QUICK = "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=500ms\nRestartSec=0\n"
SAY = REPOSITORY / "tests/units/say.py"


def say(machine: Machine, where: int | str, words: str, until: str = "") -> str:
    """What the service at a port, or at a socket's path, replies."""
    words_of_it = ("/usr/bin/python3", "-I", SAY, str(where), words, until)
    return machine.lab.run(*words_of_it, check=True).stdout


def assert_unprivileged(unit: Unit) -> None:
    """Neither notifywrap nor its target is root, has a capability, or can get one."""
    for pid in (main_pid(unit), target_pid(unit)):
        status = Path(f"/proc/{pid}/status").read_text()
        assert not re.search(r"^[UG]id:.*\b0\b", status, re.M), status
        for kind in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
            assert f"\n{kind}:\t{0:016x}\n" in status
        assert "\nNoNewPrivs:\t1\n" in status
        assert "\nSeccomp:\t2\n" in status


def was_ended_by_watchdog(unit: Unit) -> bool:
    return "Failed with result 'watchdog'" in unit.journal()
