"""`log:` puts a pipe before the journal: nothing may be lost, changed or held up by it."""

from __future__ import annotations

import hashlib
import os
import pty
import select
import signal
import socket
import subprocess
import tty
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.wrapped import (
    LIMIT_S,
    PYTHON,
    Wrapped,
    clean_environment,
    command_line,
    is_gone,
    run,
    state_of,
    status_of,
    target,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.wrapped import Inbox

QUIET = ("--log-level", "error", "--ready", "log:^go$")
NOBODY = 65534

# Lines of every length from 0 up, bytes that are no UTF-8, NULs, and no newline at the end.
MIXED = """
import os, sys
lines = b"".join(bytes(i % 251 for i in range(n)) + b"\\n" for n in range(700))
sys.stdout.buffer.write(lines + b"end")
"""
MIXED_OUT = b"".join(bytes(i % 251 for i in range(n)) + b"\n" for n in range(700)) + b"end"
# As fast as it can: 10 MB a unit, each line numbered.
FLOOD = """
import os, sys
lines = 100_000 * int(sys.argv[1])
for start in range(0, lines, 40):
    os.write(1, b"".join(b"%099d\\n" % i for i in range(start, min(start + 40, lines))))
"""


def flood_digest(units: int) -> str:
    digest = hashlib.sha256()
    for start in range(0, 100_000 * units, 40):
        digest.update(b"".join(b"%099d\n" % i for i in range(start, start + 40)))
    return digest.hexdigest()


def python(code: str, *words: str) -> list[str]:
    return [PYTHON, "-IS", "-c", code, *words]


# --- to every kind of stdout ----------------------------------------------------------------------


def to_pipe(tmp_path: Path) -> tuple[int, Callable[[], bytes]]:
    reading, writing = os.pipe()
    return writing, lambda: read_all(reading)


def to_journal(tmp_path: Path) -> tuple[int, Callable[[], bytes]]:
    """A stream socket, as systemd connects it."""
    ours, theirs = socket.socketpair()
    theirs.shutdown(socket.SHUT_RD)
    return theirs.detach(), lambda: read_all(ours.detach())


def to_file(tmp_path: Path) -> tuple[int, Callable[[], bytes]]:
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    return fd, lambda: read_file(path)


def to_file_that_is_shared(tmp_path: Path) -> tuple[int, Callable[[], bytes]]:
    """Without O_APPEND all who write share one offset: what is opened anew would start at 0."""
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"old\n")
    return fd, lambda: read_file(path)


def to_terminal(tmp_path: Path) -> tuple[int, Callable[[], bytes]]:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    return theirs, lambda: read_all(ours)


def read_file(path: Path) -> bytes:
    until(lambda: path.read_bytes().endswith(b"end"), "all of it is written")
    return path.read_bytes().removeprefix(b"old\n")


def read_all(fd: int) -> bytes:
    data = b""
    try:
        while more := os.read(fd, 65536):
            data += more
    except OSError:
        pass  # EIO: how a terminal says end of file
    os.close(fd)
    return data


SINKS = [to_pipe, to_journal, to_file, to_file_that_is_shared, to_terminal]


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("user", ["own", pytest.param("other", marks=pytest.mark.slow)])
def test_what_the_target_prints_arrives_byte_for_byte(
    tmp_path: Path, sink: Callable[[Path], tuple[int, Callable[[], bytes]]], user: str
):
    """Whatever systemd connected to stdout, also where another user may not open it anew."""
    if user == "other" and os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    writing, result = sink(tmp_path)
    other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if user == "other" else {}
    wrapper = subprocess.Popen(
        command_line(*QUIET, "--", *python(MIXED)), stdout=writing, stderr=subprocess.PIPE,
        env=clean_environment(), **other,
    )  # fmt: skip
    os.close(writing)
    assert result() == MIXED_OUT
    assert (wrapper.wait(LIMIT_S), wrapper.communicate()[1]) == (0, b"")


def test_the_order_of_stdout_and_stderr_is_kept_where_both_lead_to_the_same():
    """Two pipes would tear them apart: an error stood before or after what it is about."""
    code = "import os\nfor i in range(2000): os.write(1 + i % 2, b'%d\\n' % i)"
    done = subprocess.run(
        command_line(*QUIET, "--", *python(code)),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean_environment(),
        timeout=LIMIT_S, check=True,
    )  # fmt: skip
    assert done.stdout == b"".join(b"%d\n" % i for i in range(2000))


def test_stdout_and_stderr_stay_apart_where_they_are():
    """`2>errors` in a unit means what it says."""
    done = run(*QUIET, "--", "sh", "-c", "echo out; echo err >&2; exit 4")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 4)


def test_a_stream_that_was_closed_stays_closed_and_the_other_is_read(tmp_path: Path):
    """A pipe in its place would be a stdout that the target was not given."""
    command = python("import os; os.write(2, b'go\\n'); os.fstat(1)")
    done = subprocess.run(
        command_line("--ready", "log:^go$", "--", *command), preexec_fn=lambda: os.close(1),
        stderr=subprocess.PIPE, env=clean_environment(), timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"Bad file descriptor" in done.stderr
    assert b"\ngo\n" in b"\n" + done.stderr


# --- slow readers, and none -----------------------------------------------------------------------


def test_a_reader_that_hangs_holds_up_the_target_and_not_the_watchdog(inbox: Inbox):
    """journald is busy for a while: a wrapper that waits for it would have its service killed."""
    code = "import os; os.write(1, b'go\\n')\nwhile True: os.write(1, b'x' * 99 + b'\\n')"
    options = ("--ready", "log:^go$", "--period", "50ms")
    with Wrapped(python(code), *options, inbox=inbox, watchdog_s=10) as wrapper:
        inbox.wait("READY", "1")
        until(lambda: state_of(wrapper.target_pid) == "S", "the target waits in its write")
        inbox.drain()
        for _ in range(3):
            inbox.wait("WATCHDOG", "1")
        assert state_of(wrapper.target_pid) == "S"
        assert not flags_of(wrapper.pid, 1) & os.O_NONBLOCK, "everybody who has it would lose lines"


def flags_of(pid: int, fd: int) -> int:
    return int(Path(f"/proc/{pid}/fdinfo/{fd}").read_text().partition("flags:")[2].split()[0], 8)


@pytest.mark.parametrize("stdout", ["pipe", "socket"])
@pytest.mark.parametrize("units", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_flood_arrives_whole_and_in_order_at_a_slow_reader(stdout: str, units: int):
    """And is not kept in memory: a target that logs without end must not eat the machine."""
    ours, theirs = socket.socketpair() if stdout == "socket" else map(os.fdopen, os.pipe(), "rw")
    with Wrapped(python(FLOOD, str(units)), *QUIET, stdout=theirs) as wrapper:
        theirs.close()
        digest = hashlib.sha256()
        peak = first = 0
        for stop in range(5):
            until(lambda: state_of(wrapper.target_pid) == "S", "the target is held up")
            peak = max(peak, int(status_of(wrapper.pid, "VmRSS").split()[0]))
            first = first or peak
            for _ in range(10 * stop):
                digest.update(os.read(ours.fileno(), 16384))
        while data := os.read(ours.fileno(), 1 << 20):
            digest.update(data)
        assert digest.hexdigest() == flood_digest(units)
        assert peak - first < 2048, f"{peak} kB, {first} kB before"
        assert wrapper.end() == 0
    ours.close()


def test_a_reader_that_goes_away_is_a_broken_pipe_for_the_target():
    """`| head -1`, or a log collector that died: the target sees what it would see without us."""
    options = (*QUIET, "--sigpipe", "default")
    with Wrapped(["sh", "-c", "echo go; exec yes"], *options) as wrapper:
        assert wrapper.line() == "go"
        assert wrapper.process.stdout is not None
        wrapper.process.stdout.close()
        wrapper.process.stdout = None
        assert wrapper.end() == -signal.SIGPIPE


def test_a_full_disk_stops_neither_the_target_nor_the_wrapper():
    """Its own write would have failed, and it would have gone on."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command_line("--ready", "log:^go$", "--", "sh", "-c", "echo go; exit 3"),
            stdout=full, stderr=subprocess.PIPE, env=clean_environment(), timeout=LIMIT_S,
            check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert b"cannot pass on the target's log: no space left on device" in done.stderr


# --- the end --------------------------------------------------------------------------------------


def test_last_words_are_passed_on_though_the_reader_is_late():
    """The traceback of a daemon that dies is the one line that matters."""
    code = "import os; os.write(1, b'x' * 65000 + b'\\n'); os.write(2, b'why\\n'); os._exit(5)"
    with Wrapped(python(code), *QUIET, stderr=subprocess.STDOUT) as wrapper:
        until(lambda: is_gone(wrapper.target_pid), "the target has ended")
        assert wrapper.line() == "x" * 65000
        assert wrapper.line() == "why"
        assert wrapper.end() == 5


def test_a_grandchild_that_keeps_the_pipe_does_not_keep_the_wrapper():
    """End of file never comes then: the target's end is what counts."""
    with Wrapped(["sh", "-c", "sleep 1000 & echo go; exit 6"], *QUIET) as wrapper:
        assert wrapper.line() == "go"
        child = int(run("--log-level", "error", "--", "pgrep", "-n", "-f", "^sleep 1000$").stdout)
        try:
            assert wrapper.process.wait(LIMIT_S) == 6
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_where_nobody_reads_the_wrapper_ends_all_the_same():
    """A service that cannot be stopped because of its log is worse than a lost line."""
    code = "import os; os.write(1, b'go\\n' + b'x' * 60000); os.write(1, b'y' * 60000)"
    with Wrapped(python(code), "--ready", "log:^go$") as wrapper:
        assert wrapper.process.wait(LIMIT_S) == 0
        assert wrapper.process.stderr is not None
        assert b"nobody reads it" in wrapper.process.stderr.read()


def test_the_wrappers_death_ends_a_target_that_is_held_up():
    """kill -9 of the wrapper: nobody would read any more, so it must not hang for ever."""
    code = "import os\nwhile True: os.write(1, b'x' * 99 + b'\\n')"
    with Wrapped(python(code), *QUIET) as wrapper:
        pid = wrapper.target_pid
        until(lambda: state_of(pid) == "S", "the target is held up")
        wrapper.signal(signal.SIGKILL)
        until(lambda: is_gone(pid), "the target has ended")


# --- the world of the target ----------------------------------------------------------------------


def test_the_target_is_not_told_that_its_output_is_the_journals():
    """It would check that, or speak the journal's own protocol past us."""
    env = clean_environment(JOURNAL_STREAM="8:1")
    done = run(*QUIET, "--", "sh", "-c", 'echo "[$JOURNAL_STREAM]"', env=env)
    assert done.stdout == "[]\n"
    assert (
        run("--log-level", "error", "--", "printenv", "JOURNAL_STREAM", env=env).stdout == "8:1\n"
    )


def test_the_target_gets_blocking_pipes_and_nothing_else_of_ours():
    """Programs do not expect EAGAIN from their stdout, and a leaked end would keep pipes open."""
    code = (
        "import os\nfor fd in map(int, os.listdir('/proc/self/fd')):\n"
        "  try: print(fd, os.get_blocking(fd))\n  except OSError: pass"
    )
    assert run(*QUIET, "--", *python(code)).stdout == "0 True\n1 True\n2 True\n"


@pytest.mark.parametrize("probe", ["log:^ready$", "log:nothing"])
def test_while_the_target_is_silent_the_wrapper_sleeps(probe: str):
    """A pipe that is looked at is a tick; one that is polled costs nothing."""
    with Wrapped(target("told", "none"), "--ready", probe, "--period", "1h") as wrapper:
        assert wrapper.line() == "started"
        until(lambda: state_of(wrapper.pid) == "S", "it sleeps")
        before = wrapper.switches()
        poll = select.poll()
        poll.poll(300)
        assert wrapper.switches() - before <= 1
