"""A service that says what it is told to, under the stand-in and under a real systemd: one face."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from notifywrap.testing.manager import Manager

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.testing.systemdlab import SystemdLab

SPEAKER = Path(__file__).resolve().parents[1] / "targets/speaker.py"
LIMIT_S = 20.0  # for what takes a fraction of a second on an idle machine
POLL_S = 0.01
UNIT = "speaker.service"


class Side(ABC):
    """A manager with one service: tests/targets/speaker.py."""

    version = 0  # of the systemd that it is, or follows

    def __init__(self, directory: Path) -> None:
        self._fifo, self._output = directory / "commands", directory / "output"
        os.mkfifo(self._fifo)
        self._output.touch()
        self._commands = os.open(self._fifo, os.O_RDWR)
        self._barriers = 0

    @abstractmethod
    def start(
        self,
        *,
        watchdog_s: float | None = None,
        start_timeout_s: float = 90.0,
        notify_access: str = "main",
    ) -> None:
        """Start the service. It has not said anything then."""

    @property
    @abstractmethod
    def state(self) -> str:
        """ActiveState."""

    @property
    @abstractmethod
    def status(self) -> str:
        """The STATUS text."""

    @property
    @abstractmethod
    def fed_at(self) -> float:
        """When the watchdog was last armed or fed; 0.0 while it is off."""

    @property
    @abstractmethod
    def result(self) -> str:
        """Result."""

    @abstractmethod
    def story(self) -> str:
        """For a test that failed."""

    def tell(self, command: str) -> None:
        """A command for speaker.py."""
        os.write(self._commands, f"{command}\n".encode())

    def ask(self, command: str) -> None:
        """The same; the manager has read what came of it when this returns."""
        self._barriers += 1
        self.tell(f"{command}\nbarrier")
        self.wait(lambda: self._output.read_text().split("\n").count("barrier") >= self._barriers)

    def say(self, text: str) -> None:
        """One datagram, which the manager has read when this returns. "\\n" is a line break."""
        self.ask(f"say {text}")

    def wait(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not is_so():
            assert time.monotonic() < deadline, self.story()
            time.sleep(POLL_S)

    def wait_end(self) -> str:
        """How it ended: Result."""
        self.wait(lambda: self.state in ("inactive", "failed"))
        return self.result

    def stays(self, state: str, length_s: float) -> None:
        """It is in *state* for so long."""
        end = time.monotonic() + length_s
        while time.monotonic() < end:
            assert self.state == state, self.story()
            time.sleep(POLL_S)

    def close(self) -> None:
        os.close(self._commands)


class StandInSide(Side):
    """notifywrap.testing.manager."""

    version = 257
    _manager: Manager | None = None

    @property
    def manager(self) -> Manager:
        assert self._manager is not None, "start() comes first"
        return self._manager

    def start(
        self,
        *,
        watchdog_s: float | None = None,
        start_timeout_s: float = 90.0,
        notify_access: str = "main",
    ) -> None:
        with open(self._output, "ab") as output:
            self._manager = Manager(
                ["/usr/bin/python3", "-I", "-S", str(SPEAKER), str(self._fifo)],
                watchdog_s=watchdog_s,
                start_timeout_s=start_timeout_s,
                notify_access=notify_access,
                stdout=output,
                stderr=output,
            )
            self._manager.start()

    @property
    def state(self) -> str:
        return self.manager.state

    @property
    def status(self) -> str:
        return self.manager.status

    @property
    def fed_at(self) -> float:
        manager = self.manager
        return 0.0 if manager.silence_s is None else max([manager.ready_s or 0.0, *manager.pings])

    @property
    def result(self) -> str:
        return self.manager.result.result

    def story(self) -> str:
        return self.manager.tell()

    def close(self) -> None:
        super().close()
        if self._manager is not None:
            self._manager.close()


class SystemdSide(Side):
    """A real systemd; its unit goes with the test that *lab* is for."""

    def __init__(self, directory: Path, lab: SystemdLab) -> None:
        super().__init__(directory)
        self.lab, self.version = lab, lab.version

    def start(
        self,
        *,
        watchdog_s: float | None = None,
        start_timeout_s: float = 90.0,
        notify_access: str = "main",
    ) -> None:
        settings = {
            "Type": "notify",
            "ExecStart": f"/usr/bin/python3 -I -S {SPEAKER} {self._fifo}",
            "StandardOutput": f"append:{self._output}",
            "WatchdogSec": f"{watchdog_s or 0}s",
            "TimeoutStartSec": f"{start_timeout_s}s",
            "NotifyAccess": notify_access,
        }
        lines = [f"{key}={value}" for key, value in settings.items()]
        self.lab.install(UNIT, "\n".join(["[Service]", *lines, ""]))
        # Or systemd forgets it, and how it ended, as soon as it is inactive.
        self.lab.install("lab.target.d/speaker.conf", f"[Unit]\nAfter={UNIT}\n")
        self.lab.systemctl("start", "--no-block", UNIT, check=True)

    def _show(self, name: str) -> str:
        return self.lab.show(UNIT, name)[name]

    @property
    def state(self) -> str:
        return self._show("ActiveState")

    @property
    def status(self) -> str:
        return self._show("StatusText")

    @property
    def fed_at(self) -> float:
        return int(self._show("WatchdogTimestampMonotonic")) / 1e6

    @property
    def result(self) -> str:
        return self._show("Result")

    def story(self) -> str:
        return self.lab.journal(UNIT)
