"""The words of a unit's life, as systemd has them: settings, states, results, actions."""

from __future__ import annotations

from notifywrap.lean import Enum, NamedTuple

__all__ = ["Action", "Kill", "KillMode", "Note", "NotifyAccess", "Result", "Settings", "Sub"]


class KillMode(Enum):
    """KillMode=: who is sent what when the service is to end (systemd.kill(5))."""

    CONTROL_GROUP = "control-group"
    MIXED = "mixed"


class NotifyAccess(Enum):
    """NotifyAccess=: whose notifications count (systemd.service(5)). NONE is MAIN here, as for any
    unit of Type=notify."""

    NONE = "none"
    MAIN = "main"
    ALL = "all"


class Settings(NamedTuple):
    """The settings of a unit that matter here, all lengths in seconds; the defaults are systemd's.

    watchdog_s       WatchdogSec=; None for none
    abort_timeout_s  TimeoutAbortSec=; None for *stop_timeout_s*, as in systemd
    notify_reload    Type=notify-reload instead of Type=notify
    """

    watchdog_s: float | None = None
    start_timeout_s: float = 90.0
    stop_timeout_s: float = 90.0
    abort_timeout_s: float | None = None
    kill_mode: KillMode = KillMode.CONTROL_GROUP
    notify_access: NotifyAccess = NotifyAccess.MAIN
    notify_reload: bool = False


class Sub(Enum):
    """The unit's state; the values are those of `systemctl show -p SubState`."""

    START = "start"
    RUNNING = "running"
    RELOAD_SIGNAL = "reload-signal"
    RELOAD_NOTIFY = "reload-notify"
    STOP_WATCHDOG = "stop-watchdog"
    STOP_SIGTERM = "stop-sigterm"
    STOP_SIGKILL = "stop-sigkill"
    FINAL_SIGTERM = "final-sigterm"
    FINAL_SIGKILL = "final-sigkill"
    DEAD = "dead"
    FAILED = "failed"


class Result(NamedTuple):
    """How the service ended: systemd's word for it, and the main process's end.

    result  success, exit-code, signal, core-dump, watchdog, timeout or protocol
    dumped  the kernel wrote a core
    """

    result: str
    code: int = 0
    signum: int = 0
    dumped: bool = False


class Kill(NamedTuple):
    """Send *signum* to every process of the service or to the main one; after it SIGCONT."""

    signum: int
    everyone: bool


class Note(NamedTuple):
    """What systemd would log. *what*: active, watchdog, timeout, ignored, stopping, ended."""

    what: str
    text: str


Action = Kill | Note
