"""The application: yours takes its place."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Environ = dict[str, object]
    StartResponse = Callable[[str, list[tuple[str, str]]], object]

# For the demonstration alone: with DEMONSTRATE=hang in the environment, GET /hang never returns.
HANGS = os.environ.get("DEMONSTRATE") == "hang"


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Says which worker answers."""
    if HANGS and environ["PATH_INFO"] == "/hang":
        threading.Event().wait()  # nobody will ever set it
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"worker {os.getpid()} is at your service\n".encode()]
