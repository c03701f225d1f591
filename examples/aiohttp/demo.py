"""For demonstration only: ways in which a web application hangs. Delete this file if you like."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from contextlib import suppress

from aiohttp import web

__all__ = ["add_routes"]

FOR_EVER_S = 1e6


def add_routes(app: web.Application, lock: web.AppKey[asyncio.Lock]) -> None:
    held: list[int] = []

    async def block_the_loop(request: web.Request) -> web.Response:  # noqa: ARG001
        time.sleep(FOR_EVER_S)
        return web.Response(text="never")

    async def keep_the_lock(request: web.Request) -> web.Response:  # noqa: ARG001
        """The collector waits for it ever after; all requests are answered as before."""
        await app[lock].acquire()
        return web.Response(text="mine")

    async def end_the_collector(request: web.Request) -> web.Response:  # noqa: ARG001
        next(task for task in asyncio.all_tasks() if task.get_name() == "collector").cancel()
        return web.Response(text="ended")

    async def use_up_the_descriptors(request: web.Request) -> web.Response:  # noqa: ARG001
        """No connection can be accepted ever after."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        with suppress(OSError):  # EMFILE
            while True:
                held.append(os.dup(0))
        return web.Response(text="all mine")

    async def take_long(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query["s"]))
        return web.Response(text="done")

    app.router.add_get("/demo/block-the-loop", block_the_loop)
    app.router.add_get("/demo/keep-the-lock", keep_the_lock)
    app.router.add_get("/demo/end-the-collector", end_the_collector)
    app.router.add_get("/demo/use-up-the-descriptors", use_up_the_descriptors)
    app.router.add_get("/demo/take-long", take_long)
