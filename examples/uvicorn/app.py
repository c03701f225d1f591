"""An ASGI application (Starlette here, FastAPI is the same) that pings only while it answers.

It runs without systemd, and under other servers, as it is: nothing is sent then. The watchdog waits
for READY=1, which the server says: see main.py.
"""

from __future__ import annotations

import os
import tomllib
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ask import ask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from notifywrap import aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

CONFIG = Path(__file__).with_name("config.toml")


def read_config() -> dict[str, Any]:
    return tomllib.loads(CONFIG.read_text())


async def reload() -> None:
    """At HUP. A file that cannot be read leaves all as it was, and STATUS says why."""
    app.state.config = read_config()


async def is_answering() -> bool:
    return await ask(app, "/healthz") == 200


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.config = read_config()
    async with aio.watchdog(is_answering):
        yield


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.app.state.config["greeting"])


def healthz(request: Request) -> PlainTextResponse:  # noqa: ARG001
    """Not `async`, so that it waits for one of the 40 threads, as all such routes do: when those
    are all stuck the loop turns on, and `async` routes answer, but this one does not.

    Nothing about databases: when one is down, a restart of its clients does not help.
    """
    return PlainTextResponse("ok")


routes = [Route("/", hello), Route("/healthz", healthz)]
if os.environ.get("DEMO"):  # ways to hang, to see that systemd acts; never set in earnest
    import demo

    routes += demo.routes
app = Starlette(routes=routes, lifespan=lifespan)
