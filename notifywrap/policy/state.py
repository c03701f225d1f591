"""Where a service is in its life: systemd's words where it has one."""

from __future__ import annotations

from notifywrap.lean import Enum

__all__ = ["STOPPABLE", "WAITING", "WATCHING", "State"]


class State(Enum):
    """Of the target and the wrapper together."""

    STARTING = "starting"
    ACTIVE = "active"
    RELOADING = "reloading"
    STOPPING = "stopping"
    ABORTING = "aborting"  # notifywrap itself gave up and stops the target
    ENDED = "ended"


WAITING = (State.STARTING, State.RELOADING)  # for the ready probes
WATCHING = (State.ACTIVE, State.RELOADING)  # with the live probes
STOPPABLE = (State.STARTING, State.ACTIVE, State.RELOADING)
