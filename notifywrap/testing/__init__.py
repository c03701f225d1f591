"""For tests of services: a stand-in for systemd, a real one, and both as fixtures of pytest.

`Manager` runs a command, or the test's own process, as systemd would; `Lab` boots a real systemd.
With notifywrap installed pytest has the fixtures `notify_manager` and `systemd_lab`, of the types
`NotifyManager` and `SystemdLab`. Each is loaded when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from notifywrap.testing.lab import Lab, LabError, LabUnavailable
    from notifywrap.testing.manager import Event, Manager, ManagerError, Received
    from notifywrap.testing.managers import NotifyManager
    from notifywrap.testing.states import Result
    from notifywrap.testing.systemdlab import SystemdLab

__all__ = [
    "Event",
    "Lab",
    "LabError",
    "LabUnavailable",
    "Manager",
    "ManagerError",
    "NotifyManager",
    "Received",
    "Result",
    "SystemdLab",
]

_HOMES = {
    "Lab": "lab",
    "LabError": "lab",
    "LabUnavailable": "lab",
    "NotifyManager": "managers",
    "Result": "states",
    "SystemdLab": "systemdlab",
}

if not TYPE_CHECKING:  # to a type checker every misspelt name would be an object

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'notifywrap.testing' has no attribute {name!r}")
        home = f"notifywrap.testing.{_HOMES.get(name, 'manager')}"
        value: object = getattr(__import__(home, fromlist=[name]), name)
        globals()[name] = value
        return value
