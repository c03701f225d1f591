"""What the wrapper costs while nothing happens: counts, not times, so that any machine agrees."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.test_notifications import listening, serving
from tests.runtime.wrapped import Wrapped, status_of, target, until

if TYPE_CHECKING:
    from tests.runtime.wrapped import Inbox

ROUNDS = 20
PER_ROUND = 3
KINDS = ["listen", "tcp", "unix", "http", "zero-config"]


def settle(inbox: Inbox, pings: int) -> None:
    for _ in range(pings):
        inbox.wait("WATCHDOG", "1")


@pytest.mark.parametrize(
    "kind", ["http", *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS if k != "http")]
)
def test_a_live_round_takes_three_wake_ups_at_most(inbox: Inbox, tmp_path: Path, kind: str):
    """Two hundred wrapped services on a laptop: each wake-up is paid two hundred times."""
    command, options = serving("tcp" if kind == "listen" else kind, tmp_path)
    if kind == "listen":
        options = ["--ready", options[1], "--live", options[1].replace("tcp", "listen")]
    options += ["--period", "50ms"]
    with Wrapped(command, *options, inbox=inbox, watchdog_s=60) as wrapper:
        listening(wrapper)
        inbox.wait("READY", "1")
        settle(inbox, 5)  # what comes with readiness is over: imports, a last STATUS
        until(lambda: not inbox.drain(), "nothing is on its way")
        inbox.wait("WATCHDOG", "1")
        before = wrapper.switches()
        settle(inbox, ROUNDS)
        # One round more may have begun; one wake-up more may be our own looking, on a busy machine.
        assert wrapper.switches() - before <= PER_ROUND * (ROUNDS + 1)


def test_between_the_rounds_it_sleeps(inbox: Inbox, tmp_path: Path):
    """No tick: with a long period there is nothing to wake up for."""
    port = socket.create_server(("127.0.0.1", 0)).getsockname()[1]
    command, options = target("told", "tcp", str(port)), ["--probe", f"tcp:{port}"]
    with Wrapped(command, *options, "--period", "20s", inbox=inbox, watchdog_s=60) as wrapper:
        listening(wrapper)
        inbox.wait("READY", "1")
        until(lambda: status_of(wrapper.pid, "State").startswith("S"), "it sleeps")
        before = wrapper.switches()
        # The target works meanwhile: what it does is no event for the wrapper.
        for _ in range(300):
            wrapper.tell("hear")
            assert wrapper.line() == "hear"
        # STATUS may have been due a second after the one before.
        assert wrapper.switches() - before <= 1


def test_a_plain_supervisor_sleeps_until_its_target_ends():
    """Without systemd and without probes to repeat there is hardly anything to do."""
    with Wrapped(target("told", "none"), "--ready", "alive", "--period", "1h") as wrapper:
        assert wrapper.line() == "started"
        until(lambda: int(status_of(wrapper.pid, "SigCgt"), 16) >> 14 & 1, "its handlers")
        for _ in range(50):
            wrapper.tell("hear")
            assert wrapper.line() == "hear"
        before = wrapper.switches()
        for _ in range(300):
            wrapper.tell("hear")
            assert wrapper.line() == "hear"
        assert wrapper.switches() - before <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_one_thread(inbox: Inbox, tmp_path: Path, kind: str):
    """A thread that pings proves nothing about the one that works, and costs 8 MB of stack."""
    command, options = serving("tcp" if kind == "listen" else kind, tmp_path)
    with Wrapped(command, *options, inbox=inbox, watchdog_s=0.4) as wrapper:
        listening(wrapper)
        inbox.wait("READY", "1")
        settle(inbox, 2)
        assert status_of(wrapper.pid, "Threads") == "1"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, "exec", "failing"])
def test_a_thousand_attempts_leave_no_descriptor_behind(inbox: Inbox, tmp_path: Path, kind: str):
    """One fd lost each round is a service that dies after a day, by our fault."""
    if kind == "failing":
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        command, options = target("told", "none"), ["--ready", "alive", "--live", f"tcp:{port}"]
    elif kind == "exec":
        command, options = target("told", "none"), ["--ready", "alive", "--live", "exec:true"]
    else:
        command, options = serving("tcp" if kind == "listen" else kind, tmp_path)
        if kind == "listen":
            options = ["--ready", options[1], "--live", options[1].replace("tcp", "listen")]
    attempts = 100 if kind == "exec" else 1000
    with Wrapped(command, *options, "--period", "1ms", inbox=inbox, watchdog_s=60) as wrapper:
        if kind in ("failing", "exec"):
            assert wrapper.line() == "started"
        else:
            listening(wrapper)
        inbox.wait("READY", "1")
        until(lambda: wrapper.switches() > 50, "some rounds")
        few = wrapper.fds()
        if kind == "failing":
            before = wrapper.switches()
            until(lambda: wrapper.switches() > before + attempts, "many rounds")
        else:
            settle(inbox, attempts)
        # An attempt in flight has a few of its own.
        assert wrapper.fds() <= few + 6
        assert Path(f"/proc/{wrapper.pid}").exists()
        assert len(os.listdir(f"/proc/{wrapper.pid}/task")) == 1
