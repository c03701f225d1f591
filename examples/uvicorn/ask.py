"""A request to an ASGI application from inside: what a client asks, without its connection.

Not over TCP: where several processes share a port, another one could answer. So it does not see
that a server has no descriptors left for new connections; examples/aiohttp asks over TCP.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    App = Callable[
        [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
        Awaitable[None],
    ]

__all__ = ["ask"]


async def ask(app: App, path: str) -> int:
    """The HTTP status of GET *path*, through all middleware, when its last byte is there; 0 when
    there was none. Sets no limit of time, and lets through what the application raises.

    Source: the HTTP part of the ASGI specification, version 2.3.
    """
    unread: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
    statuses = []

    async def receive() -> Message:
        if not unread:
            await asyncio.Event().wait()  # a client that stays to the end
        return unread.pop()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"user-agent", b"notifywrap")],
        "client": ("127.0.0.1", 0),
        "server": ("localhost", 80),
    }
    await app(scope, receive, send)
    return statuses[0] if statuses else 0
