"""examples/plain_loop: one loop in one thread."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from notifywrap.testing.lab import LabError
from tests.examples.broker import poll, wait_status
from tests.examples.conftest import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit

WATCHDOG_S = 2.0
QUICK = {"WatchdogSec": f"{WATCHDOG_S}s", "TimeoutStopSec": "10s"}


@pytest.fixture
def make(lab: Lab, example: Callable[..., Unit]) -> Callable[..., Unit]:
    """The example with a loop that is expected to turn within a second."""

    def install(**replacements: str) -> Unit:
        one = example("plain_loop", start=False, **QUICK, **replacements)
        write_settings(lab, "pause_s = 0.05\nlimit_s = 1.0\n")
        one.start()
        return one

    return install


def write_settings(lab: Lab, text: str) -> None:
    (lab.root / "opt/plain_loop/plain_loop.toml").write_text(text)


def folder(lab: Lab) -> Path:
    """Its StateDirectory=, as the host sees it: below private/, as DynamicUser= is on."""
    return lab.root / "var/lib/private/plain_loop"


def give(where: Path, name: str) -> bytes:
    """A file for it to work on, complete at once."""
    content = os.urandom(100)
    (where / "new").write_bytes(content)
    (where / "new").chmod(0o666)
    (where / "new").rename(where / f"{name}.txt")
    return content


def is_done(where: Path, name: str, content: bytes) -> bool:
    digest, done = hashlib.sha256(content).hexdigest(), where / f"{name}.sha256"
    return done.exists() and done.read_text() == digest


@pytest.mark.slow
@pytest.mark.systemd
def test_loop_that_hangs_is_named_and_the_next_one_works(lab: Lab, make: Callable[..., Unit]):
    """The process is there, its watchdog thread as well: only the heartbeat tells."""
    one = make(Environment="PYTHONFAULTHANDLER=1 DEMONSTRATION=1")
    hangs = folder(lab) / "block for ever.txt"
    hangs.touch()
    assert "unhealthy: loop silent for" in wait_status(one, "unhealthy")
    hangs.unlink()
    one.wait(NRestarts="1", ActiveState="active")
    assert "Watchdog timeout" in one.journal()
    assert "in work" in one.journal(), "where it hung, from faulthandler"
    content = give(folder(lab), "after")
    poll(lambda: is_done(folder(lab), "after", content))


@pytest.mark.slow
@pytest.mark.systemd
def test_loop_that_turns_is_left_alone_and_stops_cleanly(lab: Lab, make: Callable[..., Unit]):
    """Without work, and with some all the time: five times as long as systemd would wait."""
    one = make()
    with pytest.raises(LabError, match="waited 10 s"):
        one.wait(NRestarts="1", timeout_s=5 * WATCHDOG_S)
    done: list[tuple[str, bytes]] = []

    def work_on() -> bool:
        name = f"file-{len(done)}"
        content = give(folder(lab), name)
        done.append((name, content))
        poll(lambda: is_done(folder(lab), name, content))
        return int(one.show("NRestarts")["NRestarts"]) > 0

    with pytest.raises(AssertionError, match="not within 10 s"):
        poll(work_on, 5 * WATCHDOG_S)
    one.stop()
    assert one.show("Result", "NRestarts") == {"Result": "success", "NRestarts": "0"}
    assert all(is_done(folder(lab), *each) for each in done)


@pytest.mark.systemd
def test_reload_reads_the_settings_again_and_survives_bad_ones(lab: Lab, make: Callable[..., Unit]):
    """READY=1 comes in any case: systemd would wait for it, and the service would not be up."""
    one = make()
    write_settings(lab, "pause_s = [\n")
    lab.systemctl("reload", one.name, check=True)
    assert "TOMLDecodeError" in wait_status(one, "reload failed")
    one.wait(ActiveState="active", SubState="running")
    write_settings(lab, "pause_s = 0.01\nlimit_s = 1.0\n")
    lab.systemctl("reload", one.name, check=True)
    content = give(folder(lab), "after")
    poll(lambda: is_done(folder(lab), "after", content))
    assert one.show("NRestarts", "ActiveState") == {"NRestarts": "0", "ActiveState": "active"}


@pytest.mark.systemd
def test_start_without_settings_fails(lab: Lab, example: Callable[..., Unit]):
    """It never was ready, so it never says so."""
    one = example("plain_loop", start=False, Restart="no")
    (lab.root / "opt/plain_loop/plain_loop.toml").unlink()
    assert one.start(check=False).returncode != 0
    assert one.show("ActiveState", "Result") == {"ActiveState": "failed", "Result": "exit-code"}


def test_without_systemd_it_works_as_well(tmp_path: Path):
    """Whoever writes it starts it in a terminal."""
    environment = {k: v for k, v in os.environ.items() if k != "NOTIFY_SOCKET"}
    environment["PYTHONPATH"] = str(EXAMPLES.parent)
    shutil.copy(EXAMPLES / "plain_loop/plain_loop.py", tmp_path)
    (tmp_path / "plain_loop.toml").write_text("pause_s = 0.01\nlimit_s = 20.0\n")
    content = give(tmp_path, "one")
    command = [sys.executable, "plain_loop.py"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as process:
        poll(lambda: is_done(tmp_path, "one", content))
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
