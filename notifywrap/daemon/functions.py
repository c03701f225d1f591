"""The functions of `notifywrap` itself: those of one Notifier for this process's environment."""

from __future__ import annotations

from notifywrap.daemon.notifier import Notifier
from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from notifywrap.daemon.notifier import HasFileno, Reload
    from notifywrap.daemon.watchdog import Watchdog

__all__ = [
    "barrier",
    "errno",
    "extend_timeout",
    "get_notifier",
    "main_pid",
    "ready",
    "reload",
    "remove_fds",
    "status",
    "stopping",
    "store_fds",
    "swap_notifier",
    "trigger_watchdog",
    "watchdog",
]

_notifiers: dict[str, Notifier] = {}


def get_notifier() -> Notifier:
    """The one of this process: made at the first use, and kept; later changes of the environment
    do not matter."""
    found = _notifiers.get("own")
    if found is None:
        # setdefault: of two threads, or of a signal handler and what it interrupts, one is first.
        found = _notifiers.setdefault("own", Notifier())
    return found


def swap_notifier(other: Notifier | None) -> Notifier | None:
    """Use *other* from now on, or for None one that is made at the next use; returns the one so
    far. For tests: it is how each of them finds its own environment."""
    former = _notifiers.pop("own", None)
    if other is not None:
        _notifiers["own"] = other
    return former


def ready(status: str = "") -> bool:
    """See Notifier.ready()."""
    return get_notifier().ready(status)


def status(text: str) -> bool:
    """See Notifier.status()."""
    return get_notifier().status(text)


def stopping(status: str = "") -> bool:
    """See Notifier.stopping()."""
    return get_notifier().stopping(status)


def reload(status: str = "") -> Reload:
    """See Notifier.reload()."""
    return get_notifier().reload(status)


def extend_timeout(length_s: float) -> bool:
    """See Notifier.extend_timeout()."""
    return get_notifier().extend_timeout(length_s)


def errno(number: int) -> bool:
    """See Notifier.errno()."""
    return get_notifier().errno(number)


def trigger_watchdog() -> bool:
    """See Notifier.trigger_watchdog()."""
    return get_notifier().trigger_watchdog()


def main_pid(pid: int) -> bool:
    """See Notifier.main_pid()."""
    return get_notifier().main_pid(pid)


def store_fds(fds: Iterable[int | HasFileno], name: str = "", *, poll: bool = True) -> bool:
    """See Notifier.store_fds()."""
    return get_notifier().store_fds(fds, name, poll=poll)


def remove_fds(name: str) -> bool:
    """See Notifier.remove_fds()."""
    return get_notifier().remove_fds(name)


def barrier(timeout_s: float = 5.0) -> bool:
    """See Notifier.barrier()."""
    return get_notifier().barrier(timeout_s)


def watchdog(healthy: Callable[[], object] | None = None, *, is_ready: bool = False) -> Watchdog:
    """See Watchdog."""
    from notifywrap.daemon.watchdog import Watchdog  # brings threading, which not all need

    return Watchdog(get_notifier(), healthy, is_ready=is_ready)
