"""What the wrapper loads to stand beside a service for years: no more than it needs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from notifywrap.runtime import shed

ROOT = Path(__file__).resolve().parents[2]
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


# `os` brings all the abstract classes of collections.abc: 0.25 MB and a millisecond.
WITHOUT_SITE = {"_collections_abc", "os", "site", "stat"}
# What is decided and done while the target runs is loaded while it starts, not before.
LATER = {
    "notifywrap.policy.events",
    "notifywrap.policy.machine",
    "notifywrap.runtime.control",
    "notifywrap.runtime.loop",
    "notifywrap.runtime.relay",
    "notifywrap.runtime.supervisor",
}
# Of ours; each costs a tenth of a millisecond until the target runs, and 15 kB. 33, 64 are needed.
MOST_BEFORE, MOST = 34, 66
LAUNCH = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from notifywrap.cli.__main__ import main
sys.exit(main())
"""


def modules_loaded(options: list[str], target: list[str], tmp_path: Path) -> list[str]:
    """What a wrapper has imported, in order, when it has said READY=1 and pinged for a round."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20)
        wrapper = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", "-X", "importtime", "-c", LAUNCH, str(ROOT)),
                *(*options, "--", *target),
            ],
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
    return re.findall(r"^import time:.*\| +([\w.]+)$", log, re.MULTILINE)


@pytest.mark.parametrize("probe", ["listen:{}", "tcp:{}", "http://127.0.0.1:{}/", "alive"])
def test_steady_path_is_light(probe, tmp_path):
    """A wrapper that weighs more than what it watches is not installed twice."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    target = [sys.executable, "-c", SERVER, str(port)]
    loaded = modules_loaded(["--probe", probe.format(port)], target, tmp_path)
    assert "notifywrap.runtime.supervisor" in loaded, "not the wrapper's log"
    assert set(loaded) & (FORBIDDEN | WITHOUT_SITE) == set()
    ours = [name for name in loaded if name.startswith("notifywrap")]
    before = ours[: ours.index("notifywrap.runtime.shed")]
    assert set(before) & LATER == set()

    assert len(before) <= MOST_BEFORE
    assert len(ours) <= MOST


def test_what_the_start_alone_needs_is_forgotten():
    """The command line is understood once; its 0.2 MB would lie there for years."""
    assert [name for name in shed.ONCE if not spec_of(name)] == []
    code = (
        "import gc, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from notifywrap.runtime import shed\n"
        "import notifywrap.cli.wrapper\n"
        "gc.disable()\n"
        "for name in shed.ONCE: __import__(name)\n"
        "shed.shed()\n"
        "left = set(sys.modules) & set(shed.ONCE)\n"
        "assert not left and gc.isenabled() and gc.get_freeze_count(), left\n"
        "gc.unfreeze()\n"
        "kept = {f.__module__ for f in gc.get_objects() if type(f) is type(shed.shed)}\n"
        "assert shed.__name__ in kept\n"
        "assert not kept & set(shed.ONCE), kept & set(shed.ONCE)\n"
        "from notifywrap.cli.options import parse_arguments\n"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def spec_of(module: str) -> bool:
    return (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()
