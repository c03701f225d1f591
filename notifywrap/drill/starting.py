"""Units that systemd is just starting, and that are not to be killed before they run.

Until it executes what the unit says, a process of systemd's own sets up the sandbox. Killed at
that, it leaves its mount points in /tmp.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["wait_for_exec"]

_LIMIT_S, _POLL_S = 5.0, 0.01  # systemd has no other way to tell
_SHOW = ("systemctl", "show", "--property=MainPID,ControlPID,Job")


def wait_for_exec(units: Sequence[str]) -> None:
    """Until all that is being started has been executed, what is still queued as well; 5 s at
    most."""
    limit = time.monotonic() + _LIMIT_S
    while time.monotonic() < limit:
        done = subprocess.run(
            [*_SHOW, *units], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if not any(map(_is_starting, done.stdout.split("\n\n"))):
            return
        time.sleep(_POLL_S)


def _is_starting(shown: str) -> bool:
    unit = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    pids = [unit[key] for key in ("MainPID", "ControlPID") if unit.get(key, "0") != "0"]
    if not pids:
        return unit.get("Job", "") not in ("", "0")  # nothing yet, but in a moment
    return any(map(_is_systemd, pids))


def _is_systemd(pid: str) -> bool:
    try:
        name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False  # it has ended
    return name in ("systemd", "systemd-executor")
