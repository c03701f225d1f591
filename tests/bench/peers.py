"""What a user would take instead of the library: where it is, and how the same is said with it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from tests.bench.rows import OURS

__all__ = ["BARE", "CANDIDATES", "Candidate"]

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".cache/bench"  # one directory each: `script/setup bench` makes them


class Candidate(NamedTuple):
    """A library, as lines of Python.

    load   imports it
    first  says READY=1
    ping   an expression that says WATCHDOG=1, after the two
    where  the directory that `import` finds it in
    """

    name: str
    load: str
    first: str
    ping: str
    where: Path

    @property
    def lack(self) -> str:
        """Why it cannot be measured; "" when it can."""
        if self.where.is_dir():
            return ""
        return f"not installed: there is no {self.where.relative_to(ROOT)} (script/setup bench)"

    @property
    def label(self) -> str:
        """Its name and version; ours is what lies here."""
        found = metadata.distributions(path=[str(self.where)]) if self.where != ROOT else ()
        versions = [one.version for one in found if one.metadata["Name"] is not None]
        return f"{self.name} {versions[0]}" if versions else self.name


def _peer(name: str, load: str, first: str, ping: str) -> Candidate:
    return Candidate(name, load, first, ping, PEERS / name)


BARE = Candidate("bare python3 -I -S", "pass", "pass", "None", ROOT)
CANDIDATES = (
    Candidate(
        OURS,
        "import notifywrap",
        "notifywrap.ready()",
        "notifywrap.daemon.functions.get_notifier().ping()",  # what its watchdog() calls
        ROOT,
    ),
    _peer(
        "sdnotify",
        "import sdnotify",
        "notifier = sdnotify.SystemdNotifier(debug=True); notifier.notify('READY=1')",
        "notifier.notify('WATCHDOG=1')",
    ),
    _peer(
        "systemd-watchdog",
        "import systemd_watchdog",
        "notifier = systemd_watchdog.WatchDog(); notifier.ready()",
        "notifier.notify()",
    ),
    _peer(
        "systemd-python",
        "import systemd.daemon",
        "systemd.daemon.notify('READY=1')",
        "systemd.daemon.notify('WATCHDOG=1')",
    ),
    _peer(
        "cysystemd",
        "from cysystemd.daemon import Notification, notify",
        "notify(Notification.READY, return_exceptions=False)",
        "notify(Notification.WATCHDOG, return_exceptions=False)",
    ),
)
