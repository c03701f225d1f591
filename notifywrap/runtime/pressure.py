"""How long this process was ready to run and did not, as the kernel counts it."""

from __future__ import annotations

import os

__all__ = ["RunDelay"]


class RunDelay:
    """Reads /proc/self/schedstat, kept open: one system call a look."""

    def __init__(self) -> None:
        try:
            self._fd = os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1  # no /proc, or a kernel without CONFIG_SCHED_INFO: never an excuse then

    def read(self) -> float:
        """Seconds spent on a run queue since the process began. Source: proc(5), schedstat, second
        field."""
        if self._fd < 0:
            return 0.0
        try:
            return int(os.pread(self._fd, 100, 0).split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0
