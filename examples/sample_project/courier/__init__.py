"""Carries files from one directory to another, as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import notifywrap

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Event

PAUSE_S = 0.1
PATIENCE_S = 0.5  # a round takes no time, unless it is stuck


def serve(inbox: Path, outbox: Path, stop: Event) -> None:
    """Carries files until *stop* is set."""
    inbox.mkdir(parents=True, exist_ok=True)
    outbox.mkdir(parents=True, exist_ok=True)
    carried = carry(inbox, outbox)  # what has waited; nobody needs us before
    with notifywrap.watchdog() as watchdog:
        beat = watchdog.heartbeat("courier", within=PATIENCE_S)
        notifywrap.ready(f"{carried} carried")
        while not stop.wait(PAUSE_S):
            beat()
            if count := carry(inbox, outbox):
                carried += count
                notifywrap.status(f"{carried} carried")
    notifywrap.stopping()  # after the last ping: one that comes later arms the watchdog again


def carry(inbox: Path, outbox: Path) -> int:
    """Carries what is there; returns how many that were. A FIFO that nobody writes to blocks it."""
    count = 0
    for path in sorted(inbox.iterdir()):
        (outbox / path.name).write_bytes(path.read_bytes())
        path.unlink()
        count += 1
    return count
