"""Nothing is left: not when the wrapper is killed, not a zombie, not a probe."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import pytest

from tests.runtime.wrapped import (
    LIMIT_S,
    PYTHON,
    ROOT,
    Inbox,
    Wrapped,
    clean_environment,
    command_line,
    is_gone,
    running,
    sleeper,
    state_of,
    target,
    until,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
NOBODY = 65534


@pytest.mark.slow
def test_kill_9_of_the_wrapper_at_any_moment_leaves_no_target():
    """The OOM killer asks nobody: a daemon that lives on would hold its port against its heir."""
    command = sleeper()
    chance = random.Random(1)
    for _ in range(200):
        process = subprocess.Popen(command_line("--", *command), env=clean_environment())
        try:
            process.wait(timeout=chance.uniform(0.0, 0.08))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    until(lambda: not running(command), "no target has survived")


def test_kill_9_in_the_fork_gap_leaves_no_target():
    """The wrapper may die after the fork, before its child has asked to be told of it."""
    command = sleeper()
    start = f"""\
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from notifywrap.runtime import process
ask = process.prctl
def die_first(option, value):
    if option == process.PR_SET_PDEATHSIG:
        os.kill(os.getppid(), signal.SIGKILL)
        while os.getppid() == parent:
            pass
    ask(option, value)
parent = os.getpid()
process.prctl = die_first
from notifywrap.cli.__main__ import main
sys.exit(main())
"""
    done = subprocess.run(command_line("--", *command, start=start), check=False, timeout=LIMIT_S)
    assert done.returncode == -signal.SIGKILL
    until(lambda: not running(command), "no target has survived")


def test_kill_9_of_the_wrapper_ends_a_stopped_target_too():
    """A stopped process does not act on any signal but KILL before somebody continues it."""
    with Wrapped(["sleep", "1000"], "--ready", "alive") as wrapper:
        pid = wrapper.target_pid
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state_of(pid) == "T", "the target is stopped")
        wrapper.signal(signal.SIGKILL)
        until(lambda: is_gone(pid), "the stopped target is gone")


def test_kill_9_of_the_wrapper_ends_a_probe_that_is_running(inbox: Inbox):
    """A probe that waits for a hung daemon would wait for ever, and there is one per restart.

    Not one that is killed for within a fraction of a millisecond of its start: the kernel takes the
    wrapper's last words for a process that is there already.
    """
    probe = sleeper()
    with Wrapped(["sleep", "1000"], "--ready", f"exec:{' '.join(probe)}", inbox=inbox) as wrapper:
        until(lambda: running(probe), "the probe runs")
        until(lambda: state_of(wrapper.pid) == "S", "the wrapper waits for it")
        wrapper.signal(signal.SIGKILL)
        until(lambda: not running(probe), "the probe is gone", 5.0)


def test_the_end_of_the_target_ends_a_probe_that_is_running(inbox: Inbox):
    """With the service down, nobody is interested in its probe's opinion."""
    probe = sleeper()
    with Wrapped(target("end"), "--ready", f"exec:{' '.join(probe)}", inbox=inbox) as wrapper:
        until(lambda: running(probe), "the probe runs")
        wrapper.tell("exit 3")
        assert wrapper.end() == 3
        assert not running(probe)


def test_orphans_of_the_target_are_reaped_while_it_runs():
    """Daemons fork twice, and as pid 1 of a container nobody else would reap for them."""
    with Wrapped(target("orphan"), "--ready", "alive") as wrapper:
        orphan = int(wrapper.line().removeprefix("orphan "))
        until(lambda: orphan in wrapper.children(), "the wrapper has inherited it")
        wrapper.tell("")
        until(lambda: state_of(orphan) == "", "the orphan was reaped")
        assert wrapper.children() == [wrapper.target_pid]


def test_no_zombie_stays_of_many_short_lived_orphans():
    """SIGCHLD is merged: one of them may stand for a hundred dead children."""
    code = (
        "import os\n"
        "for _ in range(200):\n"
        "    if os.fork() == 0:\n"
        "        os.fork()\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "print('done', flush=True)\n"
        "os.read(0, 1)\n"
    )
    with Wrapped([sys.executable, "-IS", "-c", code], "--ready", "alive") as wrapper:
        assert wrapper.line() == "done"
        until(lambda: wrapper.children() == [wrapper.target_pid], "all of them were reaped")


@as_root
def test_the_target_cannot_write_the_wrappers_memory():
    """It runs as the same user: without this it could make its watchdog say what it likes."""
    code = "import os; open(f'/proc/{os.getppid()}/mem', 'r+b')"
    done = subprocess.run(
        command_line("--log-level", "error", "--", PYTHON, "-IS", "-c", code),
        user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True,
        timeout=LIMIT_S, env=clean_environment(), check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 1
    assert "PermissionError" in done.stderr


@as_root
def test_an_unprivileged_wrapper_does_all_of_its_work():
    """User= is the rule for services; undumpable, the wrapper cannot read all of its own /proc."""
    address = f"@notifywrap-test-{os.getpid()}"  # pytest's directories are for root alone
    with Inbox(address) as inbox, Wrapped(
        target("told", "tcp", "0"), inbox=inbox, watchdog_s=0.8,
        user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
    ) as wrapper:  # fmt: skip
        assert wrapper.line() == "started"
        wrapper.tell("listen")
        assert wrapper.line().startswith("listening ")
        assert inbox.wait("READY", "1")
        for _ in range(3):
            assert inbox.wait("WATCHDOG", "1")
        os.kill(wrapper.target_pid, signal.SIGSTOP)
        assert "stopped" in inbox.wait("STATUS", "unhealthy")["STATUS"]
        wrapper.signal(signal.SIGTERM)
        assert wrapper.end() == -signal.SIGTERM
