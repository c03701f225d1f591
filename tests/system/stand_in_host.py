"""The service runs under the project's stand-in for systemd, on this machine."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hosts import LIMIT_S, NOTIFYWRAP, Host, Outcome, Restart, Started, number_of

from notifywrap.testing.manager import Manager

if TYPE_CHECKING:
    from collections.abc import Sequence

RESTART_SEC = 0.1  # systemd's default


class StandInHost(Host):
    """The service runs under notifywrap.testing.manager, on this machine."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        directory.mkdir()
        self._output = directory / "output"
        self._lives: list[Manager] = []
        self._mark = f"HOSTS_MARK={os.urandom(8).hex()}"

    @property
    def life(self) -> Manager:
        assert self._lives, "start() comes first"
        return self._lives[-1]

    def start(
        self,
        options: Sequence[str],
        target: Sequence[str],
        *,
        watchdog_s: float | None = None,
        kill_mode: str = "mixed",
        restart: str = "no",
        start_timeout_s: float = 30.0,
        stop_timeout_s: float = 10.0,
        wait: bool = True,
    ) -> Started:
        name, _, value = self._mark.partition("=")
        self._restart = restart
        self._arguments: dict[str, Any] = {
            "command": [NOTIFYWRAP, *options, "--", *target],
            "watchdog_s": watchdog_s,
            "kill_mode": kill_mode,
            "start_timeout_s": start_timeout_s,
            "stop_timeout_s": stop_timeout_s,
            "cwd": "/",
            "env": {"PATH": os.defpath, "LANG": "C.UTF-8", name: value},
        }
        began = time.monotonic()
        self._begin()
        if wait:
            self.life.wait_for(lambda: self.life.ready_s is not None or self.life.ended, 60, "it")
        return Started(self.life.ready_s is not None, time.monotonic() - began)

    def _begin(self) -> None:
        with open(self._output, "ab") as output:
            life = Manager(**self._arguments, stdout=output, stderr=output)
            life.start()
        self._lives.append(life)

    @property
    def state(self) -> str:
        return self.life.state

    @property
    def status(self) -> str:
        return self.life.status

    @property
    def started_at(self) -> float:
        return self.life.started_at

    @property
    def active_at(self) -> float:
        return 0.0 if self.life.ready_s is None else self.life.started_at + self.life.ready_s

    @property
    def fed_at(self) -> float:
        return self.life.started_at + self.life.pings[-1] if self.life.pings else 0.0

    @property
    def ended_at(self) -> float:
        ends = [event.at_s for event in self.life.timeline if event.what == "exit"]
        return self.life.started_at + ends[-1] if ends else 0.0

    @property
    def wrapper_pid(self) -> int:
        return self.life.main_pid

    @property
    def restarts(self) -> int:
        return len(self._lives) - 1

    def pids(self) -> list[int]:
        """Whoever has our mark in its environment: found without the manager's help."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self._mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except (OSError, ValueError):
                continue  # gone meanwhile, or not ours to look at
        return sorted(found)

    def kill(self, name: str) -> None:
        self.life.kill(number_of(name))

    def stop(self) -> Outcome:
        self.life.stop(60.0)
        return self.wait_end()

    def wait_end(self, limit_s: float = LIMIT_S) -> Outcome:
        result = self.life.wait_ended(limit_s)
        how = "dumped" if result.dumped else "killed" if result.signum else "exited"
        return Outcome(result.result, how, result.signum or result.code)

    def wait_restart(self, limit_s: float = LIMIT_S) -> Restart:
        """It runs one activation; the next is begun here, as Restart=always would."""
        result = self.wait_end(limit_s).result
        assert self._restart == "always", "it would not be restarted"
        at = self.ended_at + RESTART_SEC
        self._begin()
        return Restart(result, at)

    def journal(self) -> str:
        events = (event for life in self._lives for event in life.timeline)
        story = "".join(f"{event.at_s:9.3f} {event.what} {event.text}\n" for event in events)
        return self._output.read_text(errors="replace") + story

    def _popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(command, **options)

    def close(self) -> None:
        super().close()
        for life in self._lives:
            life.close()
        assert self.pids() == [], "processes were left behind"
