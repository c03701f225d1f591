"""https and grpc under the wrapper, end to end, without systemd."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.probes.certificates import make_certificates
from tests.probes.test_https import Nginx
from tests.runtime.wrapped import TARGETS, Wrapped, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.wrapped import Inbox


@pytest.mark.slow
def test_a_start_and_a_hang_over_https(inbox: Inbox, tmp_path: Path):
    """READY=1 when the page is served over TLS, no ping once it is not."""
    nginx = Nginx(make_certificates(tmp_path))
    nginx.end()  # its files are what is wanted
    url, ca = nginx.url("good"), nginx.certificates.pem("ca")
    options = ("--probe", url, "--tls-ca", ca, "--http-body", "served", "--http-header", "A:b")
    with Wrapped(nginx.command, *options, inbox=inbox, watchdog_s=1.0) as wrapper:
        assert inbox.wait("READY", "1")["WATCHDOG"] == "1"
        inbox.wait("WATCHDOG", "1")
        os.kill(wrapper.target_pid, signal.SIGSTOP)
        inbox.wait("STATUS", "unhealthy: ")


def test_a_grpc_server_is_ready_when_it_says_that_it_serves(inbox: Inbox, tmp_path: Path):
    """Its port is open long before: that is what the health service is for."""
    pytest.importorskip("h2")
    pytest.importorskip("grpc_health.v1")
    status = tmp_path / "status"
    status.write_text("NOT_SERVING")
    port = free_port()
    command = [sys.executable, str(TARGETS / "health_rpc.py"), "--port", str(port)]
    probe = f"grpc://127.0.0.1:{port}"
    with Wrapped([*command, "--file", str(status)], "--probe", probe, inbox=inbox, watchdog_s=2.0):
        inbox.wait("STATUS", f"waiting for {probe}: NOT_SERVING")
        fresh = tmp_path / "fresh"
        fresh.write_text("SERVING")
        fresh.rename(status)
        assert inbox.wait("READY", "1")["WATCHDOG"] == "1"


def test_a_header_from_a_credential_is_shown_nowhere(tmp_path: Path):
    """Not by --help, not by an error, and not by what is said about a probe that fails."""
    (tmp_path / "token").write_text("4711-and-a-bit\n")
    nginx = Nginx(make_certificates(tmp_path))
    try:
        words = ("--http-header-credential", "X-Token:token", "--http-body", "nowhere")
        env = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)}
        done = run("probe", *words, nginx.url("plain", scheme="http"), env=env)
    finally:
        nginx.end()
    assert done.returncode == 1
    assert "but no 'nowhere' in the body" in done.stdout
    assert "4711" not in done.stdout + done.stderr


def test_without_the_extra_a_grpc_probe_is_refused_at_the_start(tmp_path: Path):
    """With what to install. -I -S: an interpreter without site-packages has no h2."""
    start = f"import sys; sys.path.insert(0, {str(TARGETS.parents[1])!r})\n"
    start += "from notifywrap.cli.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start, "probe", "grpc://127.0.0.1:1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "needs the package h2 (pip install 'notifywrap[grpc]')" in done.stderr
    assert done.stderr.count("\n") == 1
