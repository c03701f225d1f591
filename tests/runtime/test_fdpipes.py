"""What `fd:` probes give to the target: descriptors with the numbers it was promised."""

from __future__ import annotations

import os
import resource
import socket
import sys

import pytest

from tests.runtime.wrapped import Inbox, Wrapped, clean_environment, command_line, run, until

# Says what it has open, then does what stdin says: "N TEXT" writes to a descriptor, "N" closes it.
OBEY = """
import os, sys
fds = []
for fd in map(int, os.listdir("/proc/self/fd")):
    try: os.fstat(fd); fds.append(fd)
    except OSError: pass
print(*sorted(fds), flush=True)
for line in sys.stdin:
    number, _, text = line.rstrip("\\n").partition(" ")
    os.write(int(number), text.encode() + b"\\n") if text else os.close(int(number))
    print("done", flush=True)
"""
COMMAND = [sys.executable, "-IS", "-c", OBEY]


def ready_at(*numbers: int) -> list[str]:
    return [word for number in numbers for word in ("--ready", f"fd:{number}")]


def test_ready_is_said_when_the_newline_has_come(inbox: Inbox):
    """The whole way: the pipe, the newline, READY=1."""
    with Wrapped(COMMAND, *ready_at(3), inbox=inbox) as wrapper:
        assert wrapper.line() == "0 1 2 3"
        assert not any("READY" in message for message in inbox.drain())
        wrapper.tell("3 up")
        assert inbox.wait("READY")["READY"] == "1"


def test_the_numbers_may_be_those_that_the_wrapper_uses_itself(inbox: Inbox):
    """Ours are low numbers too: one that is put in its place must not overwrite the next."""
    numbers = range(3, 24)
    with Wrapped(COMMAND, *ready_at(*numbers), inbox=inbox) as wrapper:
        assert wrapper.line() == " ".join(map(str, range(24)))
        for number in reversed(numbers):
            assert not any("READY" in message for message in inbox.drain())
            wrapper.tell(f"{number} up")
            assert wrapper.line() == "done"
        assert inbox.wait("READY")["READY"] == "1"


def test_a_command_that_cannot_be_executed_is_told_whatever_the_numbers():
    """The pipe on which exec's failure is reported is among those that move."""
    done = run(*ready_at(*range(3, 24)), "--", "/no/such/command")
    assert (done.returncode, "no such file" in done.stderr) == (127, True)


def test_one_that_is_closed_without_a_newline_is_told_in_status(inbox: Inbox):
    """Such a service never becomes ready: systemctl status must say why."""
    with Wrapped(COMMAND, *ready_at(4), inbox=inbox) as wrapper:
        assert wrapper.line() == "0 1 2 4"
        wrapper.tell("4")
        assert "closed fd 4 without a newline" in inbox.wait("STATUS", "closed")["STATUS"]


def test_beside_a_log_probe_both_get_their_pipes(inbox: Inbox):
    """Both change what the target finds."""
    with Wrapped(COMMAND, *ready_at(3), "--ready", "log:^done$", inbox=inbox) as wrapper:
        assert wrapper.line() == "0 1 2 3"
        wrapper.tell("3 up")
        assert inbox.wait("READY")["READY"] == "1"


def test_a_number_that_socket_activation_has_taken_is_refused():
    """The target would find a pipe where its socket should be."""
    with socket.socket() as one, socket.socket() as other:

        def activate(number: int) -> None:
            a, b = os.dup(one.fileno()), os.dup(other.fileno())
            os.dup2(a, 3)
            os.dup2(b, 4)
            env = clean_environment(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2")
            words = command_line("--ready", f"fd:{number}", "--", "sh", "-c", f"echo >&{number}")
            os.execve(words[0], words, env)

        ends = {}
        for number in (3, 4, 5):
            if (pid := os.fork()) == 0:
                try:
                    activate(number)
                finally:
                    os._exit(99)
            ends[number] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ends == {3: 2, 4: 2, 5: 0}


@pytest.mark.parametrize(
    ("numbers", "why"),
    [((4, 4), "fd:4: given twice"), ((64,), "fd:64: LimitNOFILE= "), ((3, 1 << 20), "fd:1048576")],
)
def test_a_number_that_cannot_be_is_refused_before_the_target_runs(
    numbers: tuple[int, ...], why: str
):
    """In the child it would be a failed exec that blames the command."""
    done = run(
        *ready_at(*numbers), "--", "echo", "started",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr


def test_the_wrapper_keeps_no_end_of_a_pipe_that_has_served(inbox: Inbox):
    """It would be open for as long as the service."""
    with Wrapped(COMMAND, *ready_at(3), inbox=inbox) as wrapper:
        wrapper.line()
        wrapper.tell("3 up")
        inbox.wait("READY")
        pipe = os.readlink(f"/proc/{wrapper.target_pid}/fd/3")
        ours = [f"/proc/{wrapper.pid}/fd/{fd}" for fd in os.listdir(f"/proc/{wrapper.pid}/fd")]
        until(lambda: pipe not in map(link, ours), "it is closed")


def link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
