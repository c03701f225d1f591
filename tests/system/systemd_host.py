"""The service is a unit of a real systemd in a lab."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hosts import LIMIT_S, NOTIFYWRAP, Host, Outcome, Restart, Started, poll

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    from tests.conftest import Lab, Unit

ENDED = ("inactive", "failed")
HOW = {"0": "", "1": "exited", "2": "killed", "3": "dumped"}  # CLD_EXITED and its kin


class SystemdHost(Host):
    """The service is a unit of a real systemd in a lab; more [Service] settings can be given."""

    def __init__(self, lab: Lab, make: Callable[..., Unit]) -> None:
        super().__init__()
        self.lab = lab
        self._make = make
        self._unit: Unit | None = None
        self._seen = 0.0  # the start of the last life that the test knows of

    @property
    def unit(self) -> Unit:
        assert self._unit is not None, "start() comes first"
        return self._unit

    def start(  # type: ignore[override]
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
        **settings: Any,
    ) -> Started:
        wrapper = settings.pop("wrapper", (NOTIFYWRAP,))
        service = {
            "Type": "notify",
            "ExecStart": " ".join(map(quote, (*wrapper, *options, "--", *target))),
            "KillMode": kill_mode,
            "Restart": restart,
            "TimeoutStartSec": f"{start_timeout_s}s",
            "TimeoutStopSec": f"{stop_timeout_s}s",
        }
        if watchdog_s is not None:
            service["WatchdogSec"] = f"{watchdog_s}s"
        self._unit = self._make(start=False, **{**service, **settings})
        # Or systemd forgets it, and how it ended, as soon as it is inactive.
        self.lab.install(self._pin, f"[Unit]\nAfter={self.unit.name}\n")
        began = time.monotonic()
        if wait:
            done = self.unit.start(check=False)
        else:
            done = self.lab.systemctl("start", "--no-block", self.unit.name, check=True)
        started = Started(done.returncode == 0, time.monotonic() - began)
        self._seen = self.started_at
        return started

    @property
    def _pin(self) -> str:
        return f"lab.target.d/{self.unit.name}.conf"

    def close(self) -> None:
        super().close()
        if self._unit is not None:
            (self.lab.root / "etc/systemd/system" / self._pin).unlink()

    def show(self, name: str) -> str:
        return self.unit.show(name)[name]

    def _moment(self, name: str) -> float:
        return int(self.show(f"{name}TimestampMonotonic")) / 1e6

    @property
    def state(self) -> str:
        return self.show("ActiveState")

    @property
    def status(self) -> str:
        return self.show("StatusText")

    @property
    def started_at(self) -> float:
        return self._moment("ExecMainStart")

    @property
    def active_at(self) -> float:
        return self._moment("ActiveEnter")

    @property
    def fed_at(self) -> float:
        return self._moment("Watchdog")

    @property
    def ended_at(self) -> float:
        return self._moment("ExecMainExit")

    @property
    def restarts(self) -> int:
        return int(self.show("NRestarts"))

    @property
    def wrapper_pid(self) -> int:
        """MainPID is a number of the lab: the one of its processes that is called so in there."""
        return poll(self._main_pid, what="a main process", story=self.journal)

    def _main_pid(self) -> int:
        main = self.show("MainPID")
        for pid in self.pids():
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                continue
            inside = next(line for line in lines if line.startswith("NSpid:"))
            if inside.split()[-1] == main:
                return pid
        return 0

    def pids(self) -> list[int]:
        return self.unit.pids()

    def kill(self, name: str) -> None:
        self.unit.kill(name, "--kill-who=main")

    def stop(self) -> Outcome:
        self.unit.stop()
        return self.wait_end()

    def wait_end(self, limit_s: float = LIMIT_S) -> Outcome:
        seen = poll(
            lambda: self.unit.show(
                "ActiveState", "Result", "ExecMainCode", "ExecMainStatus", "ExecMainPID"
            ),
            lambda seen: seen["ActiveState"] in ENDED and seen["ExecMainPID"] != "0",
            what="the end",
            limit_s=limit_s,
            story=self.journal,
        )
        status = int(seen["ExecMainStatus"])
        return Outcome(seen["Result"], HOW[seen["ExecMainCode"]], status)

    def wait_restart(self, limit_s: float = LIMIT_S) -> Restart:
        """By systemd's own marks: ExecMainStartTimestamp of the new life, and the unit's result as
        it stands in the journal (UNIT_RESULT)."""
        at = poll(
            lambda: self.started_at,
            lambda at: at > self._seen,
            what="a restart",
            limit_s=limit_s,
            story=self.journal,
        )
        self._seen = at
        entries = map(json.loads, self.unit.journal("-o", "json").splitlines())
        results = [entry["UNIT_RESULT"] for entry in entries if "UNIT_RESULT" in entry]
        return Restart(results[-1] if results else "success", at)

    def journal(self) -> str:
        return self.unit.journal()

    def _popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        return self.lab.popen(*command, **options)


def quote(word: str) -> str:
    """*word* as one word of an ExecStart= line (systemd.service(5), COMMAND LINES)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped.replace("$", "$$")}"'
