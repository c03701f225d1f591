"""Uses what `notifywrap` offers to Python daemons, all of it once: `library_tour.py ROOT`."""

import asyncio
import os
import sys

sys.path.insert(0, sys.argv[1])

import notifywrap
from notifywrap.compat.daemon import notify
from notifywrap.compat.sdnotify import SystemdNotifier


def work(watchdog: notifywrap.Watchdog) -> None:
    """A worker in a process of its own, until it is told to end."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        watchdog.worker("one", within=60.0)()
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    print("worker", flush=True)
    sys.stdin.readline()
    os.close(writing)
    os.wait()


async def serve() -> None:
    """The life of an asyncio daemon."""
    async with notifywrap.aio.watchdog() as watchdog, notifywrap.aio.service():
        watchdog.heartbeat("loop", within=60.0)()
        print("asyncio", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


with notifywrap.watchdog(healthy=lambda: True) as watched:
    beat = watched.heartbeat("main", within=60.0)
    notifywrap.ready("up")
    beat()
    work(watched)
with notifywrap.reload():
    notifywrap.status("reading")
SystemdNotifier().notify("STATUS=by sdnotify's face")
notify("STATUS=by systemd.daemon's face")
asyncio.run(serve())
