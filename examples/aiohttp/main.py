"""An aiohttp server that tells systemd the truth: `HOST=127.0.0.1 PORT=8080 python3 main.py`.

Without systemd nothing is sent, and all else is the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from yarl import URL

from notifywrap import aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIG_FILE = Path(__file__).with_name("config.toml")
GRACE_S = 20  # for requests that are under way at a stop; the unit's TimeoutStopSec= is longer
COLLECT_EVERY_S = 1.0
COLLECT_WITHIN_S = 5.0  # what a round may take at worst, and some more

WATCHDOG = web.AppKey("watchdog", aio.Watchdog)
CONFIG = web.AppKey("config", dict[str, Any])
NUMBERS = web.AppKey("numbers", list[float])
LOCK = web.AppKey("lock", asyncio.Lock)


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=request.app[CONFIG]["greeting"])


async def numbers(request: web.Request) -> web.Response:
    return web.json_response(request.app[NUMBERS])


async def healthz(request: web.Request) -> web.Response:  # noqa: ARG001
    """Nothing about databases: when one is down, a restart of its clients does not help."""
    return web.Response(text="ok")


async def collect(app: web.Application) -> AsyncIterator[None]:
    """Runs the background task from before the first request until after the last one."""
    beat = app[WATCHDOG].heartbeat("collector", within=COLLECT_WITHIN_S)

    async def run() -> None:
        try:
            while True:
                async with app[LOCK]:
                    app[NUMBERS][:] = os.getloadavg()
                beat()
                await asyncio.sleep(COLLECT_EVERY_S)
        except Exception:
            logging.exception("the collector failed")  # or nobody would learn why until the end
            raise

    task = asyncio.create_task(run(), name="collector")
    yield
    # Here, and not when the task ends: one that fails is missed then, as one that is stuck.
    beat.close()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def make_app(watchdog: aio.Watchdog) -> web.Application:
    app = web.Application()
    app[WATCHDOG] = watchdog
    app[CONFIG] = read_config()
    app[NUMBERS] = []
    app[LOCK] = asyncio.Lock()
    app.cleanup_ctx.append(collect)
    app.add_routes([web.get("/", hello), web.get("/numbers", numbers)])
    app.add_routes([web.get("/healthz", healthz)])
    if os.environ.get("DEMO"):  # ways to hang, to see that systemd acts; never set in earnest
        import demo

        demo.add_routes(app, LOCK)
    return app


def read_config() -> dict[str, Any]:
    return tomllib.loads(CONFIG_FILE.read_text())


async def main() -> None:
    async def is_answering() -> bool:
        """Asks as a client does. Each time over a new connection: one that is kept would work on
        when no other can be opened, for want of descriptors say."""
        url = URL.build(scheme="http", host=host, port=port, path="/healthz")
        async with aiohttp.request("GET", url, allow_redirects=False) as response:
            return response.status == 200

    async def reload() -> None:
        """At HUP. A file that cannot be read leaves all as it was, and STATUS says why."""
        app[CONFIG].update(read_config())

    host = os.environ.get("HOST", "127.0.0.1")
    port = int(os.environ.get("PORT", "8080"))
    async with aio.watchdog(is_answering) as watchdog:  # waits for READY=1
        app = make_app(watchdog)
        runner = web.AppRunner(app, shutdown_timeout=GRACE_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            # READY=1 only now that the socket is bound; STOPPING=1 before the first is turned away.
            async with aio.service(reload, f"serving on {host} port {port}") as service:
                print(f"serving on {host} port {port}", flush=True)
                await service.stopped()
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
