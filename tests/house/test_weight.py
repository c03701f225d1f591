"""What the wrapper loads to stand beside a service for years: no more than it needs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Beside a bare interpreter of 7.6 MB: typing takes 2.1 MB, enum 1.0, socket 1.5, dataclasses 1.0,
# argparse 1.4, psutil 4, http.client 8, asyncio 10; and as much in time until the target runs.
FORBIDDEN = {
    "argparse",
    "asyncio",
    "dataclasses",
    "enum",
    "http.client",
    "inspect",
    "logging",
    "notifywrap.policy.credential",
    "notifywrap.policy.jailspec",
    "notifywrap.runtime.credentials",
    "notifywrap.runtime.jail",
    "psutil",
    "re",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "tomllib",
    "typing",
}

# Answers every request, so that it passes each kind of probe.
SERVER = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = server.accept()
    client.settimeout(0.2)
    try:
        if client.recv(65536):
            client.sendall(b"HTTP/1.1 204 No Content\\r\\nConnection: close\\r\\n\\r\\n")
    except OSError:
        pass
    client.close()
"""


def modules_loaded(options: list[str], target: list[str], tmp_path: Path) -> set[str]:
    """All that a wrapper has imported when it has said READY=1 and pinged for a live round."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20)
        wrapper = subprocess.Popen(
            [sys.executable, "-I", "-X", "importtime", "-m", "notifywrap", *options, "--", *target],
            env={**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            heard: list[str] = []
            # The first ping goes out with READY=1; the third is certainly a live round's.
            while "READY=1" not in heard or heard.count("WATCHDOG=1") < 3:
                heard += manager.recv(65536).decode().split("\n")
        finally:
            wrapper.send_signal(signal.SIGTERM)
            _, log = wrapper.communicate(timeout=20)
    return set(re.findall(r"^import time:.*\| +([\w.]+)$", log, re.MULTILINE))


@pytest.mark.parametrize("probe", ["listen:{}", "tcp:{}", "http://127.0.0.1:{}/", "alive"])
def test_steady_path_is_light(probe, tmp_path):
    """A wrapper that weighs more than what it watches is not installed twice."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    target = [sys.executable, "-c", SERVER, str(port)]
    loaded = modules_loaded(["--probe", probe.format(port)], target, tmp_path)
    assert any(name.startswith("notifywrap.runtime") for name in loaded), "not the wrapper's log"
    assert loaded & FORBIDDEN == set()
