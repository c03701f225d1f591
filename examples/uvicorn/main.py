"""uvicorn that tells systemd the moments of its life: `HOST=127.0.0.1 PORT=8000 python3 main.py`.

Why not in the application's lifespan: its startup is over before uvicorn binds its socket, so that
READY=1 would come too early (or from a server that finds its port taken, and ends); its shutdown
begins after the last connection has ended, which is too late for STOPPING=1.
"""

from __future__ import annotations

import os
import socket
import sys

import uvicorn
from app import app, reload

from notifywrap import aio

GRACE_S = 20  # for requests that are under way at a stop; the unit's TimeoutStopSec= is longer
FIRST_FD = 3  # sd_listen_fds(3)


class Server(uvicorn.Server):
    async def main_loop(self) -> None:
        """uvicorn calls it once its sockets accept connections, and leaves it when it is to stop.

        The stop signals stay uvicorn's: it would not hear of one that has another handler.
        """
        async with aio.service(reload, "serving", stop_signals=()):
            await super().main_loop()


def inherited_sockets() -> list[socket.socket] | None:
    """Those that a .socket unit has opened for this process; None without one."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = int(os.environ["LISTEN_FDS"])
    return [socket.socket(fileno=fd) for fd in range(FIRST_FD, FIRST_FD + count)]


def main() -> None:
    config = uvicorn.Config(
        app,
        host=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ.get("PORT", "8000")),
        lifespan="on",  # "auto" goes on after an error in the application's startup
        timeout_graceful_shutdown=GRACE_S,
    )
    server = Server(config)
    try:
        server.run(inherited_sockets())
    except KeyboardInterrupt:
        pass  # Ctrl-C: uvicorn has stopped by then, and says it once more
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    main()
