"""Each kind of probe, and options that load more, on a target that passes."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.running import Run, free_port, served
from tests.bench.wrappers import ROOT, ours

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Kind", "kinds"]

_TLS = (
    "import socket, ssl, sys\n"
    "context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
    "context.load_cert_chain(sys.argv[2])\n"
    "server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
    "while True:\n"
    "    try:\n"
    "        client = context.wrap_socket(server.accept()[0], server_side=True)\n"
    "        client.recv(65536)\n"
    "        client.sendall(b'HTTP/1.1 204 No Content\\r\\nConnection: close\\r\\n\\r\\n')\n"
    "        client.close()\n"
    "    except OSError:\n"
    "        pass\n"
)
_UNIX = (
    "import socket, sys\n"
    "server = socket.socket(socket.AF_UNIX)\n"
    "server.bind(sys.argv[1])\n"
    "server.listen()\n"
    "while True:\n"
    "    server.accept()[0].close()\n"
)


class Kind(NamedTuple):
    """Options, and a target; both for a port that is free when they are asked for.

    is_probe    is it a kind of live probe, that costs something each round?
    is_sidecar  is the wrapper a child of what is started?
    lack        why it cannot be measured; "" when it can
    """

    name: str
    options: Callable[[int], list[str]]
    target: Callable[[int], list[str]] = served
    is_probe: bool = True
    is_sidecar: bool = False
    lack: str = ""

    def begin(self, period_s: float, watchdog_s: float = 60.0) -> Run:
        """Started, with live rounds this often."""
        port = free_port()
        words = ours(*self.options(port), "--period", f"{period_s:g}s")
        # grpc:// needs h2, which is where pip has put it
        env = {"PYTHONPATH": ""}
        if self.name == "grpc":
            words = [words[0], "-I", *words[3:]]
        return Run([*words, *self.target(port)], watchdog_s=watchdog_s, env=env)


def kinds() -> list[Kind]:
    """All of them; the first is the plain one."""
    http = "http://127.0.0.1:{}/"
    plain = [
        Kind("http", lambda port: ["--probe", http.format(port)]),
        Kind("listen", lambda port: ["--ready", f"listen:{port}", "--live", f"listen:{port}"]),
        Kind("tcp", lambda port: ["--probe", f"tcp:127.0.0.1:{port}"]),
        Kind("unix", lambda port: ["--probe", f"unix:{_path(port)}"],
             lambda port: [sys.executable, "-I", "-S", "-c", _UNIX, _path(port)]),
        Kind("alive", lambda _: ["--probe", "alive"]),
        Kind("no probe named", lambda _: []),
        Kind("exec:true", lambda port: ["--ready", f"listen:{port}", "--live", "exec:true"]),
    ]  # fmt: skip
    more = [
        Kind("http, log:", lambda port: ["--ready", "log:^[0-9]+$", "--probe", http.format(port)],
             is_probe=False),
        Kind("http, --jail", lambda port: ["--jail", "--probe", http.format(port)], is_probe=False),
        Kind("http, no relay", lambda port: ["--target-notify", "ignore", "--probe",
             http.format(port)], is_probe=False),
        Kind("http, rss:", lambda port: ["--probe", http.format(port), "--live", http.format(port),
             "--live", "rss:1G"]),
        Kind("http, --http-body", lambda port: ["--http-body", "^$", "--probe", http.format(port)]),
        Kind("http, --main target", lambda port: ["--main", "target", "--probe",
             http.format(port)], is_probe=False, is_sidecar=True),
    ]  # fmt: skip
    return [*plain, _https(), _grpc(), *more]


def _https() -> Kind:
    lack = "" if shutil.which("openssl") else "not installed: there is no openssl"
    return Kind(
        "https",
        lambda port: ["--probe", f"https://127.0.0.1:{port}/", "--tls-ca", _certificate()],
        lambda port: [sys.executable, "-I", "-S", "-c", _TLS, str(port), _certificate()],
        lack=lack,
    )


def _grpc() -> Kind:
    lacks = [name for name in ("h2", "grpc", "grpc_health") if not importlib.util.find_spec(name)]
    server = ROOT / "tests/targets/health_rpc.py"
    return Kind(
        "grpc",
        lambda port: ["--probe", f"grpc://127.0.0.1:{port}"],
        lambda port: [sys.executable, str(server), "--port", str(port)],
        lack=f"not installed: there is no {lacks[0]} (script/setup bench)" if lacks else "",
    )


@cache
def _path(port: int) -> str:
    return tempfile.mktemp(prefix=f"{port}-")


@cache
def _certificate() -> str:
    """Key and certificate of 127.0.0.1, in one file."""
    folder = Path(tempfile.mkdtemp(prefix="tls-"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", "key.pem", "-out", "certificate.pem", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    return str(both)
