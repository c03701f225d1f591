"""The target finds the world that systemd made: as if nothing stood between them."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.wrapped import (
    LIMIT_S,
    ROOT,
    Wrapped,
    clean_environment,
    command_line,
    state_of,
    status_of,
    target,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
NOBODY = 65534

# What a service may find that an ordinary shell does not have: each changes something to compare.
ODD = {
    b"PATH": os.environb[b"PATH"],
    b"BYTES": b"\xff\xfe caf\xc3\xa9",
    b"\xe9\xe8": b"key",
    b"EMPTY": b"",
    b"LANG": b"C",
    b"LISTEN_FDNAMES": b"a:b",
    b"MULTI": b"two\nlines=x",
}


def odd_world() -> None:
    """Runs before exec of either."""
    os.umask(0o027)
    resource.setrlimit(resource.RLIMIT_NOFILE, (321, 654))
    resource.setrlimit(resource.RLIMIT_CORE, (4096, 8192))
    os.nice(3)
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2, signal.SIGRTMIN + 5})
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as systemd does
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.chdir("/usr")


def seen(
    command: list[str],
    *,
    wrapped: bool,
    options: tuple[str, ...] = (),
    world: Callable[[], None] = odd_world,
    **popen: Any,
) -> bytes:
    """What *command* prints when it is executed in the odd world, or is wrapped there."""
    quiet = ("--log-level", "error", *options)
    words = command_line(*quiet, "--", *command) if wrapped else command
    popen = {"env": ODD, "stdin": subprocess.DEVNULL} | popen
    done = subprocess.run(
        words, stdout=subprocess.PIPE, preexec_fn=world, check=True, timeout=LIMIT_S,
        restore_signals=False, **popen,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["cat", "/proc/self/environ"], id="environment"),
        pytest.param(["cat", "/proc/self/limits"], id="limits"),
        pytest.param(["readlink", "/proc/self/cwd"], id="cwd"),
        pytest.param(["cat", "/proc/self/oom_score_adj"], id="oom_score_adj"),
        pytest.param(["cat", "/proc/self/coredump_filter"], id="coredump_filter"),
        pytest.param(["cat", "/proc/self/cgroup"], id="cgroup"),
        pytest.param(["cut", "-d", " ", "-f", "18-19", "/proc/self/stat"], id="nice"),
        pytest.param(["stat", "-c", "%u:%g", "/proc/self/maps"], id="dumpable"),
        pytest.param(  # not SigQ: what is queued for all processes of the user
            ["grep", "-E", "^(Umask|Uid|Gid|Groups|Sig[^Q]|Shd|Cap|NoNewPrivs|Seccomp|Cpus|Mems)",
             "/proc/self/status"],
            id="umask, ids, signal masks and dispositions, capabilities",
        ),
    ],
)  # fmt: skip
def test_the_target_finds_what_a_direct_start_would_give_it(command: list[str]):
    """A daemon must not notice that it is wrapped: every difference is a bug report."""
    expected = seen(command, wrapped=False)
    assert seen(command, wrapped=True) == expected
    assert expected


@as_root
def test_an_unprivileged_target_finds_the_same():
    """The wrapper cannot read its own /proc files as another user: it must not need to."""
    for command in (["cat", "/proc/self/environ"], ["stat", "-c", "%u:%g", "/proc/self/maps"]):
        both = [
            seen(command, wrapped=wrapped, user=NOBODY, group=NOBODY, extra_groups=[])
            for wrapped in (False, True)
        ]
        assert both[0] == both[1]


def test_arguments_arrive_byte_for_byte():
    """Empty ones, spaces, newlines, what is not UTF-8, and a second `--` are the target's."""
    words = [b"", b" ", b"a\nb", b"\xff\xfe", b"--", b"-x", b"--probe=nonsense", "é".encode()]
    code = b"import os, sys; sys.stdout.buffer.write(open('/proc/self/cmdline', 'rb').read())"
    command = [os.fsencode(sys.executable), b"-IS", b"-c", code, *words]
    done = subprocess.run(
        [*map(os.fsencode, command_line("--log-level", "error", "--")), *command],
        capture_output=True, check=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.stdout == b"\0".join(command) + b"\0"


def test_no_descriptor_of_the_wrapper_leaks_and_none_of_the_targets_is_lost(tmp_path: Path):
    """A leaked notify socket would speak for the service, a lost one breaks socket activation."""
    opened = [os.open(tmp_path, os.O_RDONLY) for _ in range(3)]
    try:
        both = [
            seen(["ls", "-l", "/proc/self/fd"], wrapped=wrapped, pass_fds=opened)
            for wrapped in (False, True)
        ]
    finally:
        for fd in opened:
            os.close(fd)
    names = [
        sorted(line.split()[8] for line in text.splitlines() if b" -> " in line) for text in both
    ]
    assert names[0] == names[1]
    assert {str(fd).encode() for fd in (0, 1, 2, *opened)} <= set(names[1])


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_a_closed_standard_stream_stays_closed_and_is_nobodys_socket(
    tmp_path: Path, closed: tuple[int, ...]
):
    """Started without stderr, the wrapper's own pipe must not become its number 2."""

    def close() -> None:
        for fd in closed:
            os.close(fd)

    found = tmp_path / "found"
    found.touch()
    code = f"import os; open({str(found)!r}, 'w').write(' '.join(os.listdir('/proc/self/fd')))"
    command = [sys.executable, "-IS", "-c", code]
    done = subprocess.run(
        command_line("--log-level", "debug", "--ready", "alive", "--", *command),
        preexec_fn=close, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0
    kept = {"0", "1", "2"} - {str(fd) for fd in closed}
    # listdir() and open() take the first free numbers: as many as it has besides those left open.
    assert kept <= set(found.read_text().split())
    assert len(found.read_text().split()) == len(kept) + 2


def test_without_stdout_and_stderr_our_own_words_do_not_become_signals():
    """The next two numbers that are free went to the signal pipe: each letter was a signal."""

    def close() -> None:
        os.close(1)
        os.close(2)

    with Wrapped(
        ["sh", "-c", "read x; exit 4"], "--ready", "alive", "--log-level", "debug",
        stdout=None, stderr=None, preexec_fn=close,
    ) as wrapper:  # fmt: skip
        until(lambda: int(status_of(wrapper.pid, "SigCgt"), 16) >> 14 & 1, "a handler for TERM")
        wrapper.signal(signal.SIGHUP)  # the target has no handler: that is worth a line
        until(lambda: int(status_of(wrapper.pid, "ShdPnd"), 16) == 0, "it was taken")
        until(lambda: state_of(wrapper.pid) == "S", "it sleeps again")
        wrapper.tell("")
        assert wrapper.end() == 4


def test_what_is_between_systemd_and_the_wrapper_does_not_reach_the_target(tmp_path: Path):
    """systemd would refuse what the target says, and WATCHDOG_PID would confuse it.

    What the relay gives it in their place is told in test_target_notify.py.
    """
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        env = clean_environment(
            NOTIFY_SOCKET=address, WATCHDOG_USEC="60000000", LISTEN_PIDFDID="123",
            NOTIFYWRAP_READY="alive", NOTIFYWRAP_SECRET="y", SYSTEMD_EXEC_PID="1",
        )  # fmt: skip
        options = ("--target-notify", "ignore")
        out = seen(["env", "-0"], wrapped=True, options=options, env=env, world=lambda: None)
    names = {entry.partition(b"=")[0] for entry in out.split(b"\0") if entry}
    wanted = set(map(os.fsencode, env))
    assert wanted - names == {
        b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"LISTEN_PIDFDID", b"NOTIFYWRAP_READY",
        b"NOTIFYWRAP_SECRET",
    }  # fmt: skip
    assert names <= wanted


def test_watchdog_pid_of_the_wrapper_does_not_reach_the_target():
    """It would name a process that is not the target; set, sd_watchdog_enabled(3) says no."""
    env = clean_environment(WATCHDOG_PID="1", WATCHDOG_USEC="1000000")
    assert b"WATCHDOG" not in seen(["env"], wrapped=True, env=env, world=lambda: None)


def test_variables_that_name_a_pid_name_the_targets():
    """sd_listen_fds(3) and SYSTEMD_EXEC_PID are compared with getpid() by their reader."""
    code = (
        "import os\n"
        "assert os.environ['LISTEN_PID'] == os.environ['SYSTEMD_EXEC_PID'] == str(os.getpid())\n"
        "assert os.environ['LISTEN_FDS'] == '2'\n"
        "assert os.fstat(3).st_ino != os.fstat(4).st_ino\n"
        "print('right')\n"
    )
    with socket.socket() as one, socket.socket() as other:

        def activate() -> None:
            a, b = os.dup(one.fileno()), os.dup(other.fileno())
            os.dup2(a, 3)
            os.dup2(b, 4)
            os.environ["LISTEN_PID"] = os.environ["SYSTEMD_EXEC_PID"] = str(os.getpid())
            os.environ["LISTEN_FDS"] = "2"
            # From here, as the pid is only known here: subprocess has made its block before.
            words = command_line("--log-level", "error", "--", sys.executable, "-IS", "-c", code)
            os.execv(words[0], words)

        done = subprocess.run(
            ["true"], preexec_fn=activate, close_fds=False, capture_output=True, timeout=LIMIT_S,
            check=False,
        )  # fmt: skip
    assert done.stdout == b"right\n", done.stderr


def test_the_wrapper_closes_its_copies_of_activated_sockets(tmp_path: Path):
    """The target closes a socket to refuse connections: our copy would let them hang instead."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        start = (
            f"import os, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            "os.environ['LISTEN_PID'] = str(os.getpid())\n"
            "from notifywrap.cli.__main__ import main\nsys.exit(main())\n"
        )

        def activate() -> None:
            os.dup2(listener.fileno(), 3)

        with Wrapped(
            target("end"), "--ready", "alive", start=start, close_fds=False, preexec_fn=activate,
            env=clean_environment(LISTEN_FDS="1"),
        ) as wrapper:  # fmt: skip
            assert wrapper.line() == "ready"
            held = f"socket:[{os.fstat(listener.fileno()).st_ino}]"

            def links(pid: int) -> list[str]:
                directory = f"/proc/{pid}/fd"
                return [os.readlink(f"{directory}/{fd}") for fd in os.listdir(directory)]

            assert held in links(wrapper.target_pid)
            until(lambda: held not in links(wrapper.pid), "the wrapper's copy is closed")


@pytest.mark.parametrize(
    "count", ["", "-1", "x", "\N{SUPERSCRIPT TWO}", "9" * 5000, "7", "1000000000"]
)
def test_a_listen_fds_that_lies_is_left_to_the_target(count: str):
    """It is not our protocol: the target reads it too, and knows what to say about it."""
    start = (
        f"import os, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "from notifywrap.cli.__main__ import main\nsys.exit(main())\n"
    )
    with Wrapped(["sh", "-c", 'echo "$LISTEN_FDS"; exit 4'], start=start,
                 env=clean_environment(LISTEN_FDS=count)) as wrapper:  # fmt: skip
        assert wrapper.line() == count
        assert wrapper.end() == 4, wrapper.errors


def test_the_target_leads_a_session_of_its_own():
    """As under systemd: its group is what a job-control signal or a terminal's hang-up is about."""
    session = "import os; print(os.getpid() == os.getsid(0) == os.getpgrp())"
    assert seen([sys.executable, "-IS", "-c", session], wrapped=True) == b"True\n"


@pytest.mark.parametrize(("option", "ignored"), [("ignore", True), ("default", False)])
def test_sigpipe_is_what_the_unit_says(option: str, ignored: bool):
    """IgnoreSIGPIPE=no is for shell pipelines; Python, which ignores it, cannot know."""
    command = ["grep", "SigIgn", "/proc/self/status"]
    out = seen(command, wrapped=True, options=("--sigpipe", option), world=lambda: None)
    assert bool(int(out.split()[1], 16) >> (signal.SIGPIPE - 1) & 1) is ignored


def test_a_locale_that_was_given_is_kept():
    """Python sets LC_CTYPE for itself where there is none; one that was set is the target's."""
    env = ODD | {b"LC_CTYPE": b"C.UTF-8"}
    command = ["cat", "/proc/self/environ"]
    assert b"LC_CTYPE=C.UTF-8" in seen(command, wrapped=True, env=env).split(b"\0")


def test_standard_input_is_the_targets():
    """Socket activation in inetd's way and `StandardInput=file:` feed the daemon on stdin."""
    done = subprocess.run(
        command_line("--log-level", "error", "--", "tr", "a-z", "A-Z"),
        input=b"text\n", capture_output=True, check=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.stdout == b"TEXT\n"


def test_the_target_finds_its_pipe_as_the_wrapper_got_it():
    """O_NONBLOCK lives in the open file that all share: the wrapper must not set it on stderr."""
    code = "import os; print([os.get_blocking(fd) for fd in (0, 1, 2)])"
    done = subprocess.run(
        command_line("--ready", "alive", "--", sys.executable, "-IS", "-c", code),
        stdin=subprocess.PIPE, capture_output=True, check=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.stdout == b"[True, True, True]\n"
