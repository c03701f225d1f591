"""The daemon as a process, under a stand-in for systemd."""

import os
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def start(notify_manager, directory, **options):
    command = [sys.executable, "-m", "courier", f"{directory}/in", f"{directory}/out"]
    manager = notify_manager(command, cwd=PROJECT, **options)
    manager.wait_ready(10)
    return manager


def test_it_pings_while_it_gets_on_and_stops_when_told_to(notify_manager, tmp_path):
    manager = start(notify_manager, tmp_path, watchdog_s=4.0)
    manager.wait_pings(2, timeout_s=10)
    assert manager.watchdog_gap < 4.0
    assert manager.stop(10).result == "success"
    assert manager.messages[-1].message.has("STOPPING")


def test_a_hang_is_acted_on(notify_manager, tmp_path):
    manager = start(notify_manager, tmp_path, watchdog_s=1.0)
    os.mkfifo(tmp_path / "in/trap")
    manager.wait_watchdog(6)
    assert manager.wait_ended(10).result == "watchdog"
