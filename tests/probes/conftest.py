"""Real peers on loopback for the probes, and a way to drive one attempt as the supervisor does."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from notifywrap.policy.probe import TcpProbe
from notifywrap.probes import open_attempt
from notifywrap.probes.procnet import ProcNet
from notifywrap.probes.sockdiag import SockDiag
from notifywrap.probes.target import Target
from notifywrap.probes.tree import children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from notifywrap.policy.events import Sample
    from notifywrap.policy.probe import Probe
    from notifywrap.probes import Attempt

REPOSITORY = Path(__file__).resolve().parents[2]

PREAMBLE = f"""\
import os, signal, socket, struct, sys, threading, time
sys.path.insert(0, {str(REPOSITORY)!r})
def say(text):
    print(text, flush=True)
def listen(host="127.0.0.1", backlog=128, port=0, reuse_port=False, defer=False):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if reuse_port:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if defer:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
    if ":" in host:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind((host, port))
    s.listen(backlog)
    return s
def listen_unix(path, backlog=128):
    s = socket.socket(socket.AF_UNIX)
    s.bind(chr(0) + path[1:] if path.startswith("@") else path)
    s.listen(backlog)
    return s
def say_port(s):
    say(s.getsockname()[1])
    return s
def accept_for_ever(s):
    while True:
        c = s.accept()[0]
        while c.recv(65536):
            pass
        c.close()
"""


class Driven(NamedTuple):
    """What driving an attempt came to; *wakeups* counts its start too."""

    sample: Sample
    wakeups: int


def drive_attempt(attempt: Attempt, timeout_s: float = 5.0) -> Driven:
    """Do for one attempt what the supervisor does: poll as it asks, time it out, close it."""
    deadline = time.monotonic() + timeout_s
    wakeups = 1
    try:
        while (sample := attempt.advance()) is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return Driven(attempt.overdue(), wakeups)
            wait_s = left_s if attempt.wake_after_s is None else min(left_s, attempt.wake_after_s)
            poll = select.poll()
            if attempt.fileno() >= 0:
                poll.register(attempt.fileno(), attempt.wants)
            poll.poll(wait_s * 1000)
            wakeups += 1
        return Driven(sample, wakeups)
    finally:
        attempt.close()
        attempt.close()


class Helper:
    """A Python process that does something and says what, line by line."""

    def __init__(self, source: str, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", PREAMBLE + textwrap.dedent(source), *args],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def port(self) -> int:
        """The next line it prints, as a number."""
        return int(self.line())

    def tell(self, line: str = "") -> None:
        """Let it go on: it waits with input()."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def freeze(self) -> None:
        """SIGSTOP, and wait until the kernel says that it has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def end(self) -> None:
        """Kill it with all of its children, and reap."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def spawn() -> Iterator[Callable[..., Helper]]:
    """Start helpers that end with the test."""
    helpers: list[Helper] = []

    def start(source: str, *args: str) -> Helper:
        helpers.append(Helper(source, *args))
        return helpers[-1]

    yield start
    for helper in reversed(helpers):  # a tracer before what it traces, or that cannot be reaped
        helper.end()


@pytest.fixture(autouse=True)
def older_children() -> frozenset[int]:
    """Our children that are none of the test's: a lab for other tests may be up."""
    return frozenset(children(os.getpid()))


@pytest.fixture
def targets(older_children: frozenset[int]) -> Iterator[Callable[..., Target]]:
    """Make Targets that are closed with the test."""
    made: list[Target] = []

    def make(*args: object, **named: object) -> Target:
        made.append(Target(*args, **named))  # type: ignore[arg-type]
        made[-1].strangers |= older_children - {made[-1].pid}
        return made[-1]

    yield make
    for target in made:
        target.close()


@pytest.fixture
def drive() -> Callable[..., Driven]:
    """Drive one attempt to its end."""
    return drive_attempt


@pytest.fixture
def attempt(targets: Callable[..., Target]) -> Callable[..., Sample]:
    """Open and drive one attempt; without a target, of the outside only."""

    def run(probe: Probe, target: Target | None = None, timeout_s: float = 5.0) -> Sample:
        return drive_attempt(open_attempt(probe, target or targets()), timeout_s).sample

    return run


@pytest.fixture
def tcp() -> Callable[..., TcpProbe]:
    """A probe of one port on some hosts."""

    def make(port: int, *hosts: str) -> TcpProbe:
        return TcpProbe(f"tcp:{port}", tuple((host, port) for host in hosts or ("127.0.0.1",)))

    return make


@pytest.fixture(params=["netlink", "proc"])
def each_way(request: pytest.FixtureRequest) -> Callable[[], SockDiag | ProcNet]:
    """Both ways to the kernel's socket tables: a promise must hold for either."""
    return SockDiag if request.param == "netlink" else ProcNet


@pytest.fixture
def listener() -> socket.socket:
    """A listening socket of our own that nobody accepts on."""
    return socket.create_server(("127.0.0.1", 0))
