"""What the kernel says of starvation, read from the kernel, and what comes of it for an attempt."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import TYPE_CHECKING

import pytest

from notifywrap.policy.events import OpenAttempt, Outcome
from notifywrap.policy.probe import TcpProbe
from notifywrap.policy.starvation import Hindrance
from notifywrap.probes.alive import find_tracer
from notifywrap.probes.target import Target
from notifywrap.runtime import pressure as pressure_module
from notifywrap.runtime.attempts import Attempts
from notifywrap.runtime.loop import Loop
from notifywrap.runtime.pressure import Counters, Pressure

if TYPE_CHECKING:
    from pathlib import Path

    from notifywrap.policy.events import Sampled

HAS_PSI = os.access("/proc/pressure/memory", os.R_OK)
AVERAGES = "avg10=0.00 avg60=0.00 avg300=0.00"
PSI = f"some {AVERAGES} total={{}}\nfull {AVERAGES} total={{}}\n"


def test_the_kernels_counters_only_grow():
    """They are differences of these: a counter that jumps about would make excuses."""
    pressure = Pressure()
    before, after = pressure.read(), pressure.read()
    assert after.waited_s >= before.waited_s > 0
    assert abs(after.asleep_s - before.asleep_s) < 0.1
    assert [stall[:2] for stall in before.stalls] == [stall[:2] for stall in after.stalls]
    assert all(a[2] >= b[2] for a, b in zip(after.stalls, before.stalls, strict=True))


@pytest.mark.skipif(not HAS_PSI, reason="this kernel keeps no pressure stall information")
def test_pressure_is_told_of_cpu_memory_and_io():
    """Each of the three starves a target in its own way."""
    stalls = Pressure().read().stalls
    assert [what for _, what, _ in stalls] == ["a CPU", "memory", "I/O"]


def test_the_difference_of_two_moments_is_what_was_in_the_way():
    """Totals since the boot say nothing of one attempt."""
    before = Counters(1.0, 50.0, (("this service", "I/O", 7.0),))
    after = Counters(1.5, 53.0, (("this service", "I/O", 7.25),))
    stalls = (("this service", "I/O", 0.25),)
    assert before.until(after) == Hindrance(waited_s=0.5, suspended_s=3.0, stalls=stalls)


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cgroup made of files: the real ones cannot be made to say what a test needs."""
    group = tmp_path / "a.service"
    group.mkdir()
    (group / "cgroup.type").write_text("domain\n")
    for number, kind in enumerate(("cpu", "memory", "io"), 1):
        (group / f"{kind}.pressure").write_text(PSI.format(9_000_000, number * 1_000_000))
    monkeypatch.setattr(pressure_module, "_own_cgroup", lambda: str(group))
    return group


def test_our_own_cgroup_counts_and_of_it_the_time_in_which_nobody_got_on(cgroup: Path):
    """The machine may be busy with others and still have a CPU for us.

    And threads of a target that are in each other's way are no excuse for it: "full", not "some".
    """
    who = "this service"
    stalls = ((who, "a CPU", 1.0), (who, "memory", 2.0), (who, "I/O", 3.0))
    assert Pressure().read().stalls == stalls


@pytest.mark.skipif(not HAS_PSI, reason="this kernel keeps no pressure stall information")
def test_where_the_cgroup_does_not_say_the_whole_machine_counts(cgroup: Path):
    """Before Linux 5.13 there was no "full" for CPUs; a sandbox may hide /sys/fs/cgroup."""
    (cgroup / "cpu.pressure").write_text(PSI.partition("full")[0].format(9_000_000))
    (cgroup / "io.pressure").unlink()
    assert [who for who, _, _ in Pressure().read().stalls] == [
        "this machine",
        "this service",
        "this machine",
    ]


def test_a_cgroup_that_is_gone_excuses_nothing(cgroup: Path):
    """Whatever is read while a unit is being removed: no error, and no excuse."""
    pressure = Pressure()
    before = pressure.read()
    for path in cgroup.iterdir():
        path.write_text("")
    assert all(stalled_s <= 0 for _, _, stalled_s in before.until(pressure.read()).stalls)


def attempt_on(listener: socket.socket, timeout_s: float) -> tuple[Attempts, Loop, list[Sampled]]:
    """A TCP attempt at a server that never accepts."""
    heard: list[Sampled] = []
    loop = Loop()
    attempts = Attempts(loop, Target(os.getpid()), heard.append)
    host, port = listener.getsockname()
    probe = TcpProbe(f"tcp:{port}", ((host, port),))
    attempts.open(OpenAttempt(1, probe, timeout_s), time.monotonic())
    return attempts, loop, heard


def test_an_attempt_whose_own_end_comes_late_is_excused():
    """Whatever woke us together with it: after a freeze many things are ready at once.

    Then poll(2) has descriptors to report, and does not say how late it is.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        attempts, loop, heard = attempt_on(listener, 0.01)
        reader, writer = os.pipe()
        loop.watch(reader, select.POLLIN, lambda: None)
        os.write(writer, b"x")
        late_s = 0.0
        while time.monotonic() < attempts_deadline(attempts) + 0.05:
            late_s = loop.wait(attempts.next_deadline())
            assert late_s == 0.0
        attempts.wake(time.monotonic(), late_s)
        os.close(reader)
        os.close(writer)
    assert [event.sample.outcome for event in heard] == [Outcome.TIMED_OUT]
    assert "notifywrap itself woke up" in heard[0].excuse


def attempts_deadline(attempts: Attempts) -> float:
    return next(iter(attempts._running.values())).deadline


def test_nobody_traces_us():
    """And a process that is gone is traced by nobody."""
    assert find_tracer(os.getpid()) == ""
    assert find_tracer(2**22 + 1) == ""
