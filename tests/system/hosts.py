"""Two hosts for a wrapped service, behind one face: the real systemd, and the stand-in for it.

A scenario that does not need systemd itself is written once and runs on both, with one outcome.
Pids are the host's own numbers throughout, moments are on CLOCK_MONOTONIC.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pytest

from tests import ports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


REPOSITORY = Path(__file__).resolve().parents[2]
TARGETS = REPOSITORY / "tests/targets"
NOTIFYWRAP = str(Path(sys.executable).with_name("notifywrap"))
PYTHON = ("/usr/bin/python3", "-I", "-S")  # what a target runs under: starts in 15 ms
SERVER = (*PYTHON, str(TARGETS / "server.py"))
OBEY = (*PYTHON, str(TARGETS / "obey.py"))
ORPHANS = (*PYTHON, str(TARGETS / "orphans.py"))

# The second of the two is for the full run, where a test of it takes its time.
KILL_MODES = ["mixed", pytest.param("control-group", marks=pytest.mark.slow)]

LIMIT_S = 15.0  # for what takes a fraction of a second on an idle machine
POLL_S = 0.01

Answer = TypeVar("Answer")


def poll(
    ask: Callable[[], Answer],
    is_it: Callable[[Answer], bool] = bool,
    *,
    what: str,
    limit_s: float = LIMIT_S,
    story: Callable[[], str] = lambda: "",
) -> Answer:
    """Ask until the answer is what is wanted, and return it; fails with *what* and the *story*."""
    deadline = time.monotonic() + limit_s
    while not is_it(answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s:g} s for {what}, still {answer!r}\n{story()}")
        time.sleep(POLL_S)
    return answer


class Outcome(NamedTuple):
    """How a service ended: systemd's word for it, and the end of its main process, the wrapper.

    how     exited, killed or dumped; "" when it has not ended
    status  exit status or signal number
    """

    result: str
    how: str
    status: int


class Started(NamedTuple):
    """What came of `systemctl start`: whether it said yes, and how long it took to say so."""

    ok: bool
    took_s: float


class Restart(NamedTuple):
    """A life that ended and was followed by another.

    at  when the other began; where the test begins it, when systemd would have
    """

    result: str
    at: float


class Host(ABC):
    """One service under a manager (see systemd_host.py and stand_in_host.py)."""

    @abstractmethod
    def start(
        self,
        options: Sequence[str],
        target: Sequence[str],
        *,
        watchdog_s: float | None = None,
        kill_mode: str = "mixed",
        restart: str = "no",
        start_timeout_s: float = 30.0,
        stop_timeout_s: float = 10.0,
        wait: bool = True,
    ) -> Started:
        """Start *target* under the wrapper with *options*; wait: until systemctl would return."""

    @property
    @abstractmethod
    def state(self) -> str:
        """ActiveState."""

    @property
    @abstractmethod
    def status(self) -> str:
        """The STATUS text."""

    @property
    @abstractmethod
    def started_at(self) -> float:
        """When the wrapper was started."""

    @property
    @abstractmethod
    def active_at(self) -> float:
        """When READY=1 had come; 0.0 before."""

    @property
    @abstractmethod
    def fed_at(self) -> float:
        """When the watchdog was last fed; 0.0 before."""

    @property
    @abstractmethod
    def ended_at(self) -> float:
        """When the wrapper ended; 0.0 before."""

    @property
    @abstractmethod
    def wrapper_pid(self) -> int:
        """The main process."""

    @property
    @abstractmethod
    def restarts(self) -> int:
        """How often the service was restarted by itself."""

    @abstractmethod
    def pids(self) -> list[int]:
        """Every process of the service."""

    @abstractmethod
    def kill(self, name: str) -> None:
        """`systemctl kill`, of the main process alone."""

    @abstractmethod
    def stop(self) -> Outcome:
        """`systemctl stop`."""

    @abstractmethod
    def wait_end(self, limit_s: float = LIMIT_S) -> Outcome:
        """How it ended."""

    @abstractmethod
    def wait_restart(self, limit_s: float = LIMIT_S) -> Restart:
        """Wait until a new life has begun after this one."""

    @abstractmethod
    def journal(self) -> str:
        """What the service printed, and what the manager says about it."""

    @abstractmethod
    def _popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """A process beside the service, in its network."""

    def __init__(self) -> None:
        self._outside: list[subprocess.Popen[str]] = []

    def run_outside(self, command: Sequence[str]) -> None:
        """Run something beside the service until the test is over; it is up when this returns."""
        process = self._popen(command, stdout=subprocess.PIPE, text=True)
        self._outside.append(process)
        assert process.stdout is not None
        assert process.stdout.readline(), f"{command} printed nothing"

    def end_outside(self) -> None:
        """End what run_outside() started."""
        for process in self._outside:
            process.kill()
            process.communicate()
        self._outside.clear()

    def close(self) -> None:
        """After the test, whatever came of it."""
        self.end_outside()

    @property
    def target_pid(self) -> int:
        """The wrapper's oldest child."""
        pids = poll(lambda: _children(self.wrapper_pid), what="a target", story=self.journal)
        return pids[0]

    def signal_target(self, name: str) -> float:
        """Behind the wrapper's back; returns the moment before."""
        now = time.monotonic()
        os.kill(self.target_pid, number_of(name))
        return now

    def freeze_target(self) -> float:
        """SIGSTOP, which no program notices; returns the moment before."""
        pid = self.target_pid
        now = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        poll(lambda: _state(pid), "T".__eq__, what="a stopped target")
        return now

    def wait_active(self, limit_s: float = LIMIT_S) -> None:
        self.wait_state("active", limit_s)

    def wait_state(self, wanted: str, limit_s: float = LIMIT_S) -> None:
        poll(
            lambda: self.state,
            wanted.__eq__,
            what=f"ActiveState={wanted}",
            limit_s=limit_s,
            story=self.journal,
        )

    def wait_status(self, pattern: str, limit_s: float = LIMIT_S) -> str:
        """Wait until STATUS has *pattern* in it, and return it."""
        return poll(
            lambda: self.status,
            re.compile(pattern).search,  # type: ignore[arg-type]
            what=f"STATUS with {pattern!r}",
            limit_s=limit_s,
            story=self.journal,
        )

    def wait_line(self, pattern: str, limit_s: float = LIMIT_S) -> re.Match[str]:
        """Wait until the journal has *pattern* in it, and return the match."""
        search = re.compile(pattern, re.MULTILINE).search
        found = poll(
            lambda: search(self.journal()),
            what=f"{pattern!r} in the journal",
            limit_s=limit_s,
            story=self.journal,
        )
        assert found
        return found

    def wait_fed_for(self, length_s: float) -> None:
        """Wait until a ping has come that long after READY=1; fails when this life ends before."""
        began = self.active_at

        def fed_s() -> float:
            fed_at = self.fed_at
            assert self.active_at == began <= fed_at, f"it ended:\n{self.journal()}"
            return fed_at - began

        poll(
            fed_s,
            lambda fed_s: fed_s >= length_s,
            what=f"pings {length_s:g} s after READY=1",
            limit_s=length_s + LIMIT_S,
            story=self.journal,
        )


def free_port() -> str:
    """A TCP port that nobody uses, as the word of a command line."""
    return str(ports.free_port())


def number_of(name: str) -> int:
    """The number of a signal: "USR1" or "RTMIN+3"."""
    base, _, offset = name.partition("+")
    return int(getattr(signal, f"SIG{base}")) + int(offset or 0)


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []  # it has just ended
    return [int(child) for child in text.split()]


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
