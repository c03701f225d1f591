"""The wrapper ends as its target ended: same code, or death by the same signal."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.runtime.wrapped import ROOT, Wrapped, clean_environment, command_line, run, target

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.runtime.wrapped import Inbox

HARMLESS = {"SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"}
FATAL = sorted(
    {*signal.valid_signals(), 32, 33} - {getattr(signal, name) for name in HARMLESS}
)  # 32 and 33 are the C library's own, yet kill(2) can send them
AT_ONCE = 8


def ends_of(commands: Iterable[list[str]]) -> list[int]:
    """The returncodes of wrappers around these commands, a few running at a time."""
    waiting, running, ends = list(commands), [], []
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            words = command_line("--log-level", "error", "--", *waiting.pop(0))
            running.append(subprocess.Popen(words, env=clean_environment()))
        ends.append(running.pop(0).wait(timeout=30))
    return ends


@pytest.mark.slow
def test_every_exit_code_of_the_target_is_the_wrappers():
    """systemd's SuccessExitStatus=, RestartPreventExitStatus= and scripts go by the very number."""
    assert ends_of(["sh", "-c", f"exit {code}"] for code in range(256)) == list(range(256))


@pytest.mark.slow
def test_death_by_every_fatal_signal_is_the_wrappers_death_by_that_signal():
    """128+n is not the same: systemd calls 143 a failure, and death by TERM a clean end."""
    ends = ends_of(target("end", "kill", str(signum)) for signum in FATAL)
    assert ends == [-signum for signum in FATAL]


@pytest.mark.slow
def test_a_target_that_is_told_to_stop_ends_the_wrapper_as_it_ends_itself():
    """Also after a forwarded TERM nothing is made up: a daemon's code for a clean stop counts."""
    for how, number in [("exit", 0), ("exit", 1), ("exit", 143), ("exit", 255), *(
        ("kill", signum) for signum in (1, 2, 3, 6, 9, 11, 13, 14, 15, 34, 64)
    )]:  # fmt: skip
        with Wrapped(target("end", "on", "TERM", how, str(number))) as wrapper:
            assert wrapper.line() == "ready"
            wrapper.signal(signal.SIGTERM)
            assert wrapper.end() == (number if how == "exit" else -number)


def test_a_target_without_a_handler_dies_by_the_stop_signal_and_so_does_the_wrapper():
    """The usual stop of a simple daemon: systemd sees a clean end by TERM."""
    with Wrapped(["sleep", "1000"]) as wrapper:
        pid = wrapper.target_pid
        wrapper.signal(signal.SIGTERM)
        assert wrapper.end() == -signal.SIGTERM
        assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize(("word", "end"), [("exit 0", 0), ("exit 7", 7), ("kill 6", -6)])
def test_an_end_before_ready_is_told_at_once_and_is_never_ready(inbox: Inbox, word: str, end: int):
    """READY=1 from a service that is already dead would be a lie; its own status is the reason."""
    with Wrapped(target("end"), "--ready", "file:/nonexistent/never", inbox=inbox) as wrapper:
        assert wrapper.line() == "ready"
        wrapper.tell(word)
        assert wrapper.end() == end
    messages = inbox.drain()
    assert not [message for message in messages if "READY" in message]
    assert "before it was ready" in messages[-1]["STATUS"]


@pytest.mark.parametrize(("word", "end"), [("exit 0", 0), ("exit 7", 7), ("kill 11", -11)])
def test_an_end_after_ready_is_mirrored_too(inbox: Inbox, word: str, end: int):
    """The common crash: systemd must see how the daemon died, not how a wrapper felt about it."""
    with Wrapped(target("end"), "--ready", "alive", inbox=inbox) as wrapper:
        assert inbox.wait("READY", "1")
        wrapper.tell(word)
        assert wrapper.end() == end


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGQUIT", "SIGBUS", "SIGXCPU", "SIGSYS"])
def test_the_wrapper_never_dumps_core(tmp_path: Path, name: str):
    """The dump worth reading is the target's; a second one of Python would only hide it."""

    def unlimited() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    wanted = getattr(signal, name)
    words = command_line("--", "sh", "-c", f"ulimit -c 0; kill -{int(wanted)} $$")
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", 'ulimit -c unlimited; cd "$0"; exec "$@"', str(tmp_path), *words],
        clean_environment(),
    )
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == wanted
    assert not os.WCOREDUMP(status)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace of one's own needs root")
@pytest.mark.parametrize(("how", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("kill $$", 143)])
def test_as_pid_1_of_a_container_death_by_a_signal_is_128_plus_n(how: str, code: int):
    """The kernel spares pid 1 its own signals: without this it would run on for ever."""
    unshare = shutil.which("unshare")
    assert unshare, "util-linux is everywhere"
    words = [unshare, "-pf", "--mount-proc", *command_line("--", "sh", "-c", how)]
    assert subprocess.run(words, timeout=30, check=False, cwd=ROOT).returncode == code


def ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def test_a_target_ends_the_wrapper_although_sigchld_was_ignored_at_start():
    """`trap '' CHLD` in a shell, cron, old supervisors: the kernel then reaps, and tells nobody."""
    assert run("--", "sh", "-c", "exit 5", preexec_fn=ignore_children).returncode == 5


def test_a_missing_command_is_told_although_sigchld_was_ignored_at_start():
    """The child that failed to exec has been reaped by the kernel: that is no error of its own."""
    assert run("--", "/nonexistent/command", preexec_fn=ignore_children).returncode == 127


def test_run_returns_the_targets_output_untouched():
    """stdout and stderr are the target's own: nothing is added to the one, little to the other."""
    done = run("--log-level", "error", "--", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 0)
