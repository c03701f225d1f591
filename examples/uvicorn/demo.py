"""For demonstration only: ways in which a web application hangs. Delete this file if you like."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["routes"]

FOR_EVER_S = 1e6


async def block_the_loop(request: Request) -> PlainTextResponse:  # noqa: ARG001
    print("blocks the loop", flush=True)
    time.sleep(FOR_EVER_S)
    return PlainTextResponse("never")


def hold_a_thread(request: Request) -> PlainTextResponse:  # noqa: ARG001
    time.sleep(FOR_EVER_S)
    return PlainTextResponse("never")


async def take_long(request: Request) -> PlainTextResponse:
    await asyncio.sleep(float(request.query_params["s"]))
    return PlainTextResponse("done")


routes = [
    Route("/demo/block-the-loop", block_the_loop),
    Route("/demo/hold-a-thread", hold_a_thread),
    Route("/demo/take-long", take_long),
]
