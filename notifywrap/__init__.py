"""notifywrap: any daemon becomes a Type=notify service with a watchdog that means something.

For daemons written in Python: `notifywrap.ready()` when you serve, and `with
notifywrap.watchdog(healthy=...)` to be restarted when you no longer do. Importing this costs next
to nothing; what is used is loaded when it is.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from notifywrap import aio
    from notifywrap.daemon.functions import (
        barrier,
        errno,
        extend_timeout,
        main_pid,
        ready,
        reload,
        remove_fds,
        status,
        stopping,
        store_fds,
        trigger_watchdog,
        watchdog,
    )
    from notifywrap.daemon.notifier import Notifier
    from notifywrap.daemon.watchdog import Watchdog
    from notifywrap.errors import NotifyError

__all__ = [
    "Notifier",
    "NotifyError",
    "Watchdog",
    "__version__",
    "aio",
    "barrier",
    "errno",
    "extend_timeout",
    "main_pid",
    "ready",
    "reload",
    "remove_fds",
    "status",
    "stopping",
    "store_fds",
    "trigger_watchdog",
    "watchdog",
]

__version__ = "0.1.0"

_HOMES = {
    "NotifyError": "notifywrap.errors",
    "Notifier": "notifywrap.daemon.notifier",
    "Watchdog": "notifywrap.daemon.watchdog",
}

if not TYPE_CHECKING:  # to a type checker every misspelt name would be an object

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'notifywrap' has no attribute {name!r}")
        if name == "aio":
            return __import__("notifywrap.aio", fromlist=[name])  # which sets it here itself
        home = _HOMES.get(name, "notifywrap.daemon.functions")
        module = __import__(home, fromlist=[name])
        try:
            value: object = getattr(module, name)
        except AttributeError:
            # A signal handler has interrupted the first use, and finds half of a module.
            from notifywrap.errors import NotifyError

            raise NotifyError(
                f"notifywrap.{name} is still being loaded, use it a bit later"
            ) from None
        globals()[name] = value
        return value
