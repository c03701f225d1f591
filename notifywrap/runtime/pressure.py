"""What the kernel counts of the time that this service wanted to work and could not.

Kept open: one system call of 1 to 2 us for each number, four of them, and only for attempts that
have to wait.
"""

from __future__ import annotations

import time

from notifywrap.lean import NamedTuple, os
from notifywrap.policy.starvation import Hindrance

__all__ = ["Counters", "Pressure"]

MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")  # of cgroup v2; the second beside v1
KINDS = (("cpu", "a CPU"), ("memory", "memory"), ("io", "I/O"))


class Counters(NamedTuple):
    """The kernel's counters at one moment, in seconds since some beginning.

    waited_s  how long we were on a run queue
    asleep_s  how long the machine was suspended
    stalls    who was kept waiting for what, and how long
    """

    waited_s: float
    asleep_s: float
    stalls: tuple[tuple[str, str, float], ...]

    def until(self, later: Counters) -> Hindrance:
        """What was in the way between this moment and a *later* one."""
        return Hindrance(
            waited_s=later.waited_s - self.waited_s,
            stalls=tuple(
                (who, what, total_s - before_s)
                for (who, what, total_s), (_, _, before_s) in zip(
                    later.stalls, self.stalls, strict=True
                )
            ),
            suspended_s=later.asleep_s - self.asleep_s,
        )


class _Gauge:
    """One file of pressure stall information, and which of its lines counts.

    "full" is the time in which nobody in the cgroup got on although somebody wanted to: busy
    threads of the target that are in each other's way are its own affair. Only the whole machine's
    CPUs have none ("full" is 0 there): "some", the time in which anybody waited. Source: Linux,
    Documentation/accounting/psi.rst.
    """

    def __init__(self, path: str, who: str, what: str, line: bytes) -> None:
        self.who = who
        self.what = what
        self._line = line
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.read()  # a kernel that was booted with psi=0 has the files, and says so only now

    def read(self) -> float:
        """The total so far, in seconds. Raises OSError."""
        text = os.pread(self._fd, 400, 0)
        return int(text.partition(self._line)[2].partition(b"total=")[2].split()[0]) / 1e6


class Pressure:
    """Opens what there is when it is first read. What there is not is never an excuse."""

    def __init__(self) -> None:
        self._schedstat = -1
        self._gauges: list[_Gauge] | None = None

    def read(self) -> Counters:
        """The counters now."""
        if self._gauges is None:
            self._schedstat = _open_schedstat()
            self._gauges = _open_gauges(_own_cgroup())
        return Counters(
            self._waited(),
            time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic(),
            tuple((gauge.who, gauge.what, _total(gauge)) for gauge in self._gauges),
        )

    def _waited(self) -> float:
        """Source: proc(5), schedstat, second field."""
        if self._schedstat < 0:
            return 0.0
        try:
            return int(os.pread(self._schedstat, 100, 0).split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0


def _open_schedstat() -> int:
    try:
        return os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1  # no /proc, or a kernel without CONFIG_SCHED_INFO


def _total(gauge: _Gauge) -> float:
    try:
        return gauge.read()
    except (OSError, IndexError, ValueError):
        return 0.0  # ENODEV: our cgroup was removed under us


def _own_cgroup() -> str:
    """The directory of the cgroup that we are in, target and all; "" where it cannot be seen."""
    try:
        with open("/proc/self/cgroup", "rb", buffering=0) as file:
            lines = file.read(8192).decode(errors="surrogateescape").split("\n")
    except OSError:
        return ""
    own = next((line[3:].rstrip("/") for line in lines if line.startswith("0::")), None)
    if own is None:
        return ""
    paths = (mount + own for mount in MOUNTS)
    # The root has no type, and everybody else is in it too: it says no more than /proc/pressure.
    return next((path for path in paths if os.path.exists(f"{path}/cgroup.type")), "")


def _open_gauges(cgroup: str) -> list[_Gauge]:
    gauges = []
    for kind, what in KINDS:
        some = b"some" if kind == "cpu" else b"full"
        for path, who, line in (
            (cgroup and f"{cgroup}/{kind}.pressure", "this service", b"full"),
            (f"/proc/pressure/{kind}", "this machine", some),
        ):
            try:
                gauges.append(_Gauge(path, who, what, line))
                break
            except (OSError, IndexError, ValueError):
                pass  # a kernel without PSI, or without "full" for CPUs (before 5.13); hidden /proc
    return gauges
