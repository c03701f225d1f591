"""A lab for many tests: each installs its units, and finds nothing of the one before."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from notifywrap.testing.lab import Lab, LabError, read_unit

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SystemdLab"]

_LASTING = "--state=active,activating,deactivating,reloading"
_STOP_LIMIT_S = 30.0  # for units whose processes have been sent SIGKILL
_LINES_TOLD = "200"  # of a unit's journal


class SystemdLab(Lab):
    """A Lab with a beginning and an end for each test.

    home  where the paths of units begin that are not absolute

    begin() is called before a test and clean_up() after it. What a service leaves in /var stays
    until the lab goes down.
    """

    def __init__(self, home: Path, **options: Any) -> None:
        super().__init__(**options)
        self._home = home
        self._installed: list[str] = []
        self._since: tuple[str, ...] = ()

    def begin(self) -> None:
        """From now on journal() shows what comes, and clean_up() removes what is installed."""
        self._installed.clear()
        self.run("journalctl", "--sync", check=True)
        said = self.run("journalctl", "-q", "-n0", "--show-cursor", "--no-pager", check=True)
        cursor = re.search(r"^-- cursor: (.*)$", said.stdout, re.MULTILINE)
        self._since = (f"--after-cursor={cursor[1]}",) if cursor else ()

    def install(self, unit: str | Path, text: str | None = None) -> None:
        """Write a unit, or a drop-in (`x.service.d/10.conf`), and have systemd read it.

        With *text* it is called *unit*; without, *unit* is the path of a file, from the directory
        of the project on.
        """
        name, text = read_unit(self._home / unit) if text is None else (str(unit), text)
        self._installed.append(name)
        super().install(name, text)

    def journal(self, unit: str, *options: str) -> str:
        """What the unit has printed in this test, and systemd about it: `journalctl -u`."""
        return super().journal(unit, *self._since, *options)

    def tell(self) -> list[tuple[str, str]]:
        """For the report of a test that failed: a title, and state and journal of each unit."""
        return [(f"systemd_lab: {unit}", self._tell_of(unit)) for unit in self._units()]

    def clean_up(self) -> None:
        """Ends and removes what was installed, and with it what was enabled.

        Raises LabError, or subprocess.TimeoutExpired, when something cannot be ended.
        """
        units = self._units()
        if units:
            self.systemctl("kill", "--signal=KILL", *units)  # or one deaf to TERM takes its time
            self.systemctl("stop", *units, timeout_s=_STOP_LIMIT_S)
            lasting = self.systemctl("list-units", "--plain", "--no-legend", _LASTING, *units)
            if lasting.stdout:
                raise LabError(f"these cannot be stopped:\n{lasting.stdout}")
            self.systemctl("reset-failed", *units)
        for name in dict.fromkeys(self._installed):
            self._remove(name)
        if self._installed:
            self.systemctl("daemon-reload", check=True)
        self._installed.clear()

    def _units(self) -> list[str]:
        """What was installed, as systemctl takes it: `x@*.service` for the instances of x@."""
        names = [name for name in self._installed if "/" not in name]
        return [re.sub(r"@(?=\.\w+$)", "@*", name) for name in dict.fromkeys(names)]

    def _tell_of(self, unit: str) -> str:
        status = self.systemctl("status", "--no-pager", "--full", "--lines=0", unit)
        return f"{status.stdout}\n{self.journal(unit, '--lines', _LINES_TOLD)}"

    def _remove(self, name: str) -> None:
        directory = self.root / "etc/systemd/system"
        links = (path for path in directory.rglob("*") if path.is_symlink())
        enabled = [path for path in links if os.path.basename(os.readlink(path)) == name]
        for path in (directory / name, *enabled):
            path.unlink(missing_ok=True)
            try:
                if path.parent != directory:
                    path.parent.rmdir()
            except OSError:
                pass  # ENOTEMPTY: there is more in it, which goes when its turn comes
