"""Type=notify-reload with ExecReload=: what `check` says of it is what systemd does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Lab

SAYS = """\
import os, signal, socket, time
def say(message):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.connect(os.environ["NOTIFY_SOCKET"])
        out.send(message.encode())
def reload(*_):
    print("reloads", flush=True)
    say(f"RELOADING=1\\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
    say("READY=1")
signal.signal(signal.SIGHUP, reload)
say("READY=1")
while True:
    signal.pause()
"""


@pytest.mark.systemd
@pytest.mark.parametrize(("suite", "reloads"), [("trixie", True), ("sid", False)])
def test_notify_reload_signals_beside_exec_reload(
    lab_of: Callable[[str], Lab], suite: str, reloads: bool
):
    """257 does not wait for the command: where that fails, the target has reloaded anyway."""
    lab = lab_of(suite)
    (lab.root / "opt/says").write_text(SAYS)
    text = "[Service]\nType=notify-reload\nExecStart=/usr/bin/python3 -IS /opt/says\n"
    lab.install("t-beside.service", f"{text}ExecReload=/usr/bin/false\n")
    lab.systemctl("start", "t-beside.service", check=True)
    assert lab.systemctl("reload", "t-beside.service").returncode != 0
    lab.systemctl("stop", "t-beside.service", check=True)
    assert ("reloads" in lab.journal("t-beside.service").splitlines()) == reloads
