"""When something breaks, our own parts included: one line, no target left behind, no hang."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.runtime.wrapped import (
    LIMIT_S,
    ROOT,
    Inbox,
    Wrapped,
    clean_environment,
    command_line,
    run,
    running,
    sleeper,
    state_of,
    target,
    until,
)

if TYPE_CHECKING:
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of one's own need root")


def sabotage(statements: str) -> str:
    """The program that runs notifywrap after these *statements* have broken a part of it."""
    return f"""\
import sys
sys.path.insert(0, {str(ROOT)!r})
def fail(*_, **__):
    raise RuntimeError("broken on purpose")
{statements}
from notifywrap.cli.__main__ import main
sys.exit(main())
"""


SABOTAGE = {
    "opening an attempt": "from notifywrap import probes; probes.open_attempt = fail",
    "the machine": "from notifywrap.policy.readiness import Readiness; Readiness.record = fail",
    "the machine, also when it aborts": (
        "from notifywrap.policy.machine import Machine; Machine.handle = fail"
    ),
    "the first actions": "from notifywrap.policy.machine import Machine; Machine.start = fail",
    "sending": "from notifywrap.protocol.notify import Notifier; Notifier.send = fail",
    "the loop": "from notifywrap.runtime.loop import Loop; Loop.wait = fail",
    "the signal pipe": "from notifywrap.runtime import signals; signals.SignalPipe = fail",
    "an import after the fork": "sys.modules['notifywrap.runtime.supervisor'] = None",
    "memory": (
        "from notifywrap.runtime.attempts import Attempts\n"
        "def fail(*_): raise MemoryError\n"
        "Attempts.open = fail"
    ),
}


@pytest.mark.parametrize("part", SABOTAGE)
def test_a_failure_of_our_own_stops_the_target_and_is_125(inbox: Inbox, part: str):
    """A bug of ours must not leave a daemon running that nobody watches, nor a traceback."""
    command = sleeper()
    with Wrapped(
        command, "--ready", "alive", "--period", "50ms", inbox=inbox, start=sabotage(SABOTAGE[part])
    ) as wrapper:
        assert wrapper.end() == 125
    assert not running(command)
    assert "Traceback" not in wrapper.errors
    assert "broken on purpose" in wrapper.errors or part in ("memory", "an import after the fork")
    assert all(line.startswith("<") for line in wrapper.errors.splitlines())


def deaf_to_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def test_a_failure_of_our_own_kills_a_target_that_will_not_stop(inbox: Inbox):
    """TERM first, KILL after --kill-after: nothing is left running when notifywrap ends."""
    start = sabotage(SABOTAGE["the machine"])
    with Wrapped(
        ["sleep", "1000"], "--ready", "file:/nonexistent", "--kill-after", "200ms",
        inbox=inbox, start=start, preexec_fn=deaf_to_term,
    ) as wrapper:  # fmt: skip
        pid = wrapper.target_pid
        assert wrapper.end() == 125
        assert state_of(pid) == ""
    assert "killing" in wrapper.errors


def test_the_targets_end_while_we_fail_is_not_waited_for_twice(inbox: Inbox):
    """It is told once by the kernel: lost in our own failure, we would wait for ever."""
    start = sabotage("from notifywrap.policy import endings; endings.describe_exit = fail")
    with Wrapped(["true"], "--ready", "alive", inbox=inbox, start=start) as wrapper:
        assert wrapper.end() == 125
    assert "Traceback" not in wrapper.errors


def test_a_stderr_that_nobody_reads_blocks_nothing(inbox: Inbox):
    """A log collector that hangs must not take the watchdog with it."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    while select.select([], [writer], [], 0)[1]:
        os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    try:
        with Wrapped(
            target("record_signals"), "--ready", "alive", "--log-level", "debug",
            inbox=inbox, watchdog_s=0.4, stderr=writer,
        ) as wrapper:  # fmt: skip
            assert wrapper.line() == "ready"
            inbox.wait("READY", "1")
            wrapper.signal(signal.SIGABRT)  # we have something to say about that
            assert {wrapper.line(), wrapper.line()} == {"6", "18"}
            for _ in range(3):
                inbox.wait("WATCHDOG", "1")
            os.kill(wrapper.target_pid, signal.SIGKILL)
            assert wrapper.end() == -signal.SIGKILL
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_a_standard_stream_that_is_closed_or_broken_is_no_obstacle(stream: int):
    """Some supervisors close them, and a reader may go away at any time."""
    for close in (lambda: os.close(stream), lambda: break_pipe(stream)):
        done = subprocess.run(
            command_line("--log-level", "debug", "--ready", "alive", "--", "sh", "-c", "exit 4"),
            preexec_fn=close, timeout=LIMIT_S, check=False, env=clean_environment(),
        )  # fmt: skip
        assert done.returncode == 4


def break_pipe(stream: int) -> None:
    reader, writer = os.pipe()
    os.dup2(reader if stream == 0 else writer, stream)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("limit", range(3, 24))
def test_too_few_descriptors_never_leave_a_target_that_nobody_watches(inbox: Inbox, limit: int):
    """LimitNOFILE= in a unit is for the daemon; ours must fail in good order or work."""
    command = sleeper()

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    with Wrapped(
        command, "--ready", "alive", "--live", "exec:true", "--period", "100ms",
        inbox=inbox, watchdog_s=10, preexec_fn=little,
    ) as wrapper:  # fmt: skip
        until(
            lambda: (
                wrapper.process.poll() is not None
                or any(
                    "READY" in message or "too many open files" in message["STATUS"]
                    for message in inbox.drain()
                )
            ),
            "it is ready, or says why not, or has given up",
        )
        if wrapper.process.poll() is None:
            wrapper.signal(signal.SIGTERM)
            assert wrapper.end() == -signal.SIGTERM
        else:
            # With hardly any it is the interpreter itself, or the loader, that cannot start.
            assert wrapper.end() in (125, 126) or limit < 6, wrapper.errors
    until(lambda: not running(command), "nothing is left")


@as_root
@pytest.mark.parametrize("how", ["umount -l /proc", "mount -t tmpfs none /proc"])
def test_it_works_without_proc(tmp_path: Path, how: str):
    """ProtectProc=, chroots and odd containers: pings must not depend on it."""
    unshare = shutil.which("unshare")
    assert unshare
    with Inbox(tmp_path / "notify") as inbox:
        words = command_line("--ready", "alive", "--", *target("end"))
        process = subprocess.Popen(
            [unshare, "-m", "sh", "-c", f'{how}; exec "$@"', "sh", *words],
            env=clean_environment(NOTIFY_SOCKET=inbox.path, WATCHDOG_USEC="400000"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        inbox.wait("READY", "1")
        for _ in range(3):
            inbox.wait("WATCHDOG", "1")
        _, errors = process.communicate(b"exit 5\n", timeout=LIMIT_S)
        assert process.returncode == 5, errors


@as_root
def test_a_stopped_target_is_noticed_without_proc(tmp_path: Path):
    """Its parent can ask the kernel without it."""
    unshare = shutil.which("unshare")
    assert unshare
    with Inbox(tmp_path / "notify") as inbox:
        words = command_line("--ready", "alive", "--", "sh", "-c", "echo $$; exec sleep 1000")
        process = subprocess.Popen(
            [unshare, "-m", "sh", "-c", 'umount -l /proc; exec "$@"', "sh", *words],
            env=clean_environment(NOTIFY_SOCKET=inbox.path, WATCHDOG_USEC="400000"),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        inbox.wait("READY", "1")
        os.kill(pid, signal.SIGSTOP)
        assert "stopped" in inbox.wait("STATUS", "unhealthy")["STATUS"]
        process.terminate()
        assert process.wait(LIMIT_S) == -signal.SIGTERM
        process.stdout.close()


@as_root
def test_a_directory_that_is_read_only_or_gone_is_no_obstacle(tmp_path: Path):
    """WorkingDirectory= may be anything; we have no business there."""
    gone = tmp_path / "gone"
    gone.mkdir()
    words = command_line("--", "sh", "-c", "exit 4")
    remove = ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *words]
    assert subprocess.run(remove, cwd=gone, timeout=LIMIT_S, check=False).returncode == 4
    done = run("--", "sh", "-c", "exit 4", cwd="/proc/self")
    assert done.returncode == 4


@as_root
def test_no_room_for_another_process_is_125_with_the_likely_reason():
    """LimitNPROC= and TasksMax= hit the wrapper first: say so."""

    def none() -> None:
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))

    done = run("--", "true", preexec_fn=none, user=65533, group=65533, extra_groups=[], cwd="/")
    assert done.returncode == 125, done.stderr
    assert "LimitNPROC=" in done.stderr
    assert done.stderr.count("\n") == 1


def test_isolated_python_and_no_environment_at_all_are_enough():
    """`env -i`, and units that set nothing."""
    done = run("--", "/bin/sh", "-c", "exit 4", env={})
    assert done.returncode == 4, done.stderr


def test_a_flood_of_signals_hurts_nobody():
    """A supervisor gone mad, or a test of one."""
    with Wrapped(target("end"), "--ready", "alive") as wrapper:
        assert wrapper.line() == "ready"
        pid = wrapper.target_pid
        for _ in range(20_000):
            wrapper.signal(signal.SIGURG)
            wrapper.signal(signal.SIGWINCH)
            wrapper.signal(signal.SIGCHLD)
        assert state_of(pid) in ("S", "R")
        wrapper.tell("exit 4")
        assert wrapper.end() == 4
    assert wrapper.errors.count("\n") <= 3
