"""`notifywrap probe`: by hand, and in scripts."""

from __future__ import annotations

import os
import socket
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.runtime.wrapped import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def port() -> Iterator[int]:
    """A server on 127.0.0.1 that answers 503 to whoever asks."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(5)
                    try:
                        if client.recv(65536):
                            client.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
                            client.recv(65536)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_probe_that_passes_is_0(port: int):
    """For `until notifywrap probe ...; do` in a script."""
    done = run("probe", f"tcp:127.0.0.1:{port}")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(f"pass  tcp:127.0.0.1:{port}  ")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_a_probe_that_fails_is_1_and_says_why(port: int):
    """A person reads it: the reason is the point."""
    done = run("probe", f"http://127.0.0.1:{port}/health")
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL  http://")
    assert "HTTP 503" in done.stdout


def test_every_probe_is_tried_and_told_and_one_failure_counts(port: int, tmp_path: Path):
    """All of them in one line each, in order: what a person wants to see at once."""
    file = f"file:{tmp_path}"
    closed = f"tcp:127.0.0.1:{free_port()}"
    done = run("probe", file, closed, f"listen:{port}", "exec:true", "exec:false")
    assert done.returncode == 1
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["pass", file], ["FAIL", closed], ["pass", f"listen:{port}"], ["pass", "exec:true"],
        ["FAIL", "exec:false"],
    ]  # fmt: skip
    assert "refused" in done.stdout
    assert "exit 1" in done.stdout


def test_a_probe_that_gets_no_answer_ends_with_its_timeout(tmp_path: Path):
    """A server that hangs must not hang the script."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        done = run("probe", "--timeout", "200ms", address, timeout=10)
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL")


def test_an_exec_probe_that_overruns_is_killed(tmp_path: Path):
    """Nothing is left of it."""
    pid_file = tmp_path / "pid"
    script = tmp_path / "probe"
    script.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nexec sleep 1000\n")
    script.chmod(stat.S_IRWXU)
    assert run("probe", "--timeout=500ms", f"exec:{script}", timeout=10).returncode == 1
    assert not os.path.exists(f"/proc/{int(pid_file.read_text())}")


def test_the_options_of_http_probes_work_here_too(port: int):
    """Whoever writes a unit tries its probe first."""
    url = f"http://127.0.0.1:{port}/"
    assert run("probe", "--http-status", "200,503", url).returncode == 0
    done = run("probe", "--http-status=503", "--http-body", "up|ok", "--http-header", "A:b", url)
    assert done.returncode == 1
    assert done.stdout.rstrip().endswith("HTTP 503, but no 'up|ok' in the body (empty)")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "PROBE"),
        (["nonsense:1"], "unknown probe"),
        (["tcp:99999"], "1 to 65535"),
        (["alive"], "target"),
        (["--timeout", "soon", "tcp:1"], "--timeout"),
        (["--timeout"], "--timeout"),
        (["--period", "1s", "tcp:1"], "--period"),
        (["file:/", "nonsense"], "unknown probe"),
        (["--http-header", "A", "http://127.0.0.1/"], "--http-header: a header needs a name"),
        (["--tls-insecure", "http://127.0.0.1/"], "--tls-insecure: there is no https probe"),
        (["--tls-ca", "/dev/null", "https://127.0.0.1/"], "'/dev/null' is not a regular file"),
        (["--tls-ca", "/etc/hostname", "https://127.0.0.1/"], "'/etc/hostname' holds no"),
        (["tcp:no-such-name.invalid:1"], "resolve"),
    ],
)
def test_misuse_is_2_and_one_line(words: list[str], says: str):
    """A mistake must not look like a failed probe: `until` would loop for ever."""
    done = run("probe", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


@pytest.mark.parametrize("answer", [b"500 a\x1b[31m\nb\rc", b"500 \xff\xfe", b"500 " + b"x" * 9000])
def test_a_hostile_server_cannot_write_to_the_terminal(answer: bytes):
    """Escape sequences from a server belong on nobody's terminal."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 " + answer + b"\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        done = run("probe", f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    assert done.returncode == 1
    assert done.stdout.count("\n") == 1
    assert done.stdout.rstrip("\n").isprintable()
    assert len(done.stdout) < 400
