"""Bad input: one line that names the option and the fix, and nothing was started."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from tests.runtime.wrapped import clean_environment, run

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

HAPPENED = "the target was started"


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["--config", "FIFO"], "is not a regular file"),
        (["--config", "/dev/zero"], "is not a regular file"),
        (["--config", "HUGE"], "is longer than 1 MiB"),
        (["--probe", "https://127.0.0.1/", "--tls-ca", "FIFO"], "is not a regular file"),
    ],
)
def test_no_file_is_waited_for_or_read_without_end(
    mark: Path, tmp_path: Path, words: list[str], fix: str
):
    """A wrapper that waits for a FIFO's writer hears no TERM, and only KILL would end the unit."""
    os.mkfifo(tmp_path / "FIFO")
    (tmp_path / "HUGE").write_text("#" * (1 << 20) + "\n")
    words = [str(tmp_path / word) if word.isupper() else word for word in words]
    assert fix in refused(mark, *words).stderr


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


def refused(mark: Path, *words: str, **env: str) -> CompletedProcess[str]:
    """Run the wrapper with a target that would leave a mark; it must not, and say one line."""
    done = run(*words, "--", "touch", str(mark), env=clean_environment(**env))
    check(done)
    assert not mark.exists(), HAPPENED
    return done


def check(done: CompletedProcess[str]) -> None:
    assert done.stdout == ""
    assert done.stderr.startswith("<3>notifywrap: "), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "names", "fix"),
    [
        (["--probe", "nonsense:1"], "--probe", "known: listen: tcp:"),
        (["--ready", "tpc:80"], "--ready", "'tpc:80'"),
        (["--live", ""], "--live", "known:"),
        (["--probe", "https:localhost"], "--probe", "(write https://127.0.0.1:8080/ping)"),
        (["--probe", "grpc://localhost"], "--probe", "write grpc://127.0.0.1:50051"),
        (["--probe", "http://[::1]/", "--http-status", "2xx"], "--http-status", "write 200-399"),
        (["--probe", "tcp:80", "--http-body", "x"], "--http-body", "no http probe"),
        (["--probe", "http://127.0.0.1/", "--tls-insecure"], "--tls-insecure", "no https probe"),
        (["--probe", "https://127.0.0.1/", "--tls-ca", "/none"], "--tls-ca", "no such file"),
        (["--probe", "tcp:"], "--probe", "after tcp:"),
        (["--probe", "tcp:0"], "--probe", "1 to 65535"),
        (["--probe", "tcp:70000"], "--probe", "1 to 65535"),
        (["--probe", "tcp:http"], "--probe", "1 to 65535"),
        (["--probe", "tcp:localhost:"], "--probe", "1 to 65535"),
        (["--probe", "tcp:::1:80"], "--probe", "[::1]:8080"),
        (["--probe", "tcp:[::1"], "--probe", "[::1]:8080"),
        (["--probe", "tcp:no-such-host.invalid:80"], "--probe", "'no-such-host.invalid'"),
        (["--probe", "tcp:" + "a" * 70 + ":80"], "--probe", "numeric address"),
        (["--probe", "tcp:a..b:80"], "--probe", "numeric address"),
        (["--probe", "tcp:" + "ä" * 70 + ":80"], "--probe", "host name"),
        (["--probe", "tcp:ä..b:80"], "--probe", "host name"),
        (["--probe", "listen:localhost:80"], "--probe", "listen:127.0.0.1:80"),
        (["--probe", "unix:relative"], "--probe", "absolute"),
        (["--probe", "unix:/" + "x" * 200], "--probe", "107"),
        (["--probe", "http:/127.0.0.1/"], "--probe", "http://"),
        (["--probe", "http:///path"], "--probe", "host"),
        (["--probe", "http://127.0.0.1/a b"], "--probe", "%XX"),
        (["--probe", "http://me@127.0.0.1/"], "--probe", "user"),
        (["--probe", "http+unix://run/x/"], "--probe", "%2Frun"),
        (["--probe", 'exec:"unclosed'], "--probe", "quot"),
        (["--probe", "exec:  "], "--probe", "command"),
        (["--probe", "file:relative"], "--probe", "absolute"),
        (["--period", "soon"], "--period", "500ms"),
        (["--period", "0"], "--period", "more than 0"),
        (["--period", "-1s"], "--period", "500ms"),
        (["--timeout", ""], "--timeout", "500ms"),
        (["--timeout", "infinity"], "--timeout", "500ms"),
        (["--kill-after", "1 fortnight"], "--kill-after", "500ms"),
        (["--kill-after", "9" * 400], "--kill-after", "less than"),
        (["--stop-signal", "SIGFOO"], "--stop-signal", "TERM"),
        (["--stop-signal", "KILL"], "--stop-signal", "TERM"),
        (["--stop-signal", "0"], "--stop-signal", "TERM"),
        (["--sigpipe", "maybe"], "--sigpipe", "ignore or default"),
        (["--main", "both"], "--main", "wrapper or target"),
        (["--log", "syslog"], "--log", "journal or stderr"),
        (["--config", "/nonexistent.toml"], "--config", "/nonexistent.toml"),
        (["--preset", "trafik"], "--preset", "did you mean traefik?"),
        (["--log-level", "loud"], "--log-level", "info"),
        (["--prob", "tcp:80"], "--prob", "did you mean --probe?"),
        (["--redy=tcp:80"], "--redy", "did you mean --ready?"),
        (["--frobnicate"], "--frobnicate", "--help"),
        (["-x"], "-x", "--help"),
        (["--probe"], "--probe", "value"),
        (["--period", "1s", "--period", "2s"], "--period", "twice"),
        (["--main=wrapper", "--main=wrapper"], "--main", "twice"),
        (["traefik"], "'traefik'", "--"),
        (["--probe", "tcp:80", "word"], "'word'", "--"),
        (["--probe", "tcp:\x1b[31m80"], "--probe", "port"),
        (["--probe", "x\ny"], "--probe", "known"),
        (["--probe", os.fsdecode(b"\xff")], "--probe", "known"),
    ],
)
def test_a_bad_option_is_named_and_nothing_is_started(
    mark: Path, words: list[str], names: str, fix: str
):
    """A half-understood configuration must not run: the sysadmin sees the mistake at once."""
    done = refused(mark, *words)
    assert done.returncode == 2
    assert names in done.stderr
    assert fix in done.stderr


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ([], "[OPTIONS] -- COMMAND"),
        (["--"], "[OPTIONS] -- COMMAND"),
        (["--probe", "tcp:80"], "[OPTIONS] -- COMMAND"),
        (["traefik"], "write -- before the command"),
        (["--probe", "tcp:80", "traefik", "--configfile=x"], "unknown option"),
    ],
)
def test_a_missing_command_or_separator_says_how_to_write_it(words: list[str], fix: str):
    """The first thing that goes wrong for a new user."""
    done = run(*words)
    check(done)
    assert done.returncode == 2
    assert fix in done.stderr


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["--period", "9s"], "--period"),
        (["--timeout", "8s"], "--timeout"),
        (["--period", "6s", "--timeout", "5s"], "--period"),
        (["--period", "1month"], "--period"),
    ],
)
def test_rounds_too_slow_for_the_watchdog_are_refused(
    mark: Path, tmp_path: Path, words: list[str], option: str
):
    """It would restart a healthy service now and then, at night."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        done = refused(
            mark, "--probe", "tcp:80", *words,
            NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="10000000",
        )  # fmt: skip
        status = manager.recv(4096).decode()
    assert done.returncode == 2
    assert done.stderr.startswith(f"<3>notifywrap: {option}: ")
    assert "WatchdogSec=10s" in done.stderr
    assert status.startswith(f"STATUS={option}: "), "also `systemctl status` says why"


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("/nonexistent/notify", "no such file"),
        ("@notifywrap-nobody-listens-here", "nobody listens"),
        ("garbage", "not an address"),
        ("/", "not an address"),
        ("/" + "x" * 200, "not an address"),
        ("/etc/passwd", "nobody listens"),
        ("vsock:x:y", "not an address"),
        ("/tmp", "nobody listens"),
    ],
)
def test_a_notify_socket_that_leads_nowhere_is_told_before_anything_starts(
    mark: Path, address: str, why: str
):
    """Type=notify without a working socket ends in a start timeout that explains nothing."""
    done = refused(mark, NOTIFY_SOCKET=address)
    assert done.returncode == 125
    assert "NOTIFY_SOCKET=" in done.stderr
    assert why in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WATCHDOG_USEC", "garbage"),
        ("WATCHDOG_USEC", ""),
        ("WATCHDOG_USEC", "-1"),
        ("WATCHDOG_USEC", "1.5"),
        ("WATCHDOG_USEC", "9" * 5000),
        ("WATCHDOG_USEC", "\N{ARABIC-INDIC DIGIT THREE}"),
        ("WATCHDOG_PID", "me"),
    ],
)
def test_a_garbled_watchdog_is_told_before_anything_starts(
    mark: Path, tmp_path: Path, name: str, value: str
):
    """Guessing would mean a watchdog that nobody pings, or pings for one that is not there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000", name: value}
        done = refused(mark, **env)
        assert name.encode() in manager.recv(4096)
    assert done.returncode == 125
    assert name in done.stderr
    assert len(done.stderr) < 1100


def script(path: Path, text: str, mode: int = stat.S_IRWXU) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_command_that_is_not_found_is_127():
    """As env(1), nohup(1) and every shell have it; the line says where was looked."""
    done = run("--", "no-such-command-anywhere")
    check(done)
    assert done.returncode == 127
    assert f"not found in PATH={os.environ['PATH']}" in done.stderr


@pytest.mark.parametrize("command", ["/nonexistent/command", "./nonexistent", "/etc/passwd/x", ""])
def test_a_path_that_is_not_there_is_127(command: str):
    """A typing mistake in ExecStart=."""
    done = run("--", command)
    check(done)
    assert done.returncode == 127
    assert repr(command) in done.stderr


def test_a_path_variable_with_a_file_in_it_does_not_confuse():
    """PATH entries need not be directories."""
    done = run("--", "no-such-command", env={"PATH": "/etc/passwd"})
    check(done)
    assert done.returncode == 127
    assert "not found in PATH=/etc/passwd" in done.stderr


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("#!/bin/sh\n", stat.S_IRUSR, "permission denied"),
        ("#!/nonexistent/interpreter\n", stat.S_IRWXU, "interpreter"),
        ("no first line\n", stat.S_IRWXU, "#!/bin/sh"),
        ("", stat.S_IRWXU, "#!/bin/sh"),
    ],
)
def test_a_file_that_cannot_be_executed_is_126(tmp_path: Path, text: str, mode: int, why: str):
    """The kernel's own words ("No such file", for a file that is there) mislead; ours must not."""
    done = run("--", script(tmp_path / "daemon", text, mode))
    check(done)
    assert done.returncode == 126
    assert why in done.stderr


def test_a_directory_is_126(tmp_path: Path):
    """The path without its last part."""
    done = run("--", str(tmp_path))
    check(done)
    assert done.returncode == 126
    assert "it is a directory" in done.stderr


def test_systemd_is_told_what_could_not_be_started(tmp_path: Path):
    """`systemctl status` shows STATUS, also of a unit that failed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        env = clean_environment(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert run("--", "/nonexistent/daemon", env=env).returncode == 127
        assert manager.recv(4096) == b"STATUS=cannot start '/nonexistent/daemon': no such file"


def test_a_very_long_mistake_is_cut_to_a_line():
    """Journald cuts lines, and a pipe that nobody reads takes 4096 bytes at once or none."""
    done = run("--probe", "x" * 100_000, "--", "true")
    check(done)
    assert done.returncode == 2
    assert len(done.stderr) < 1100
