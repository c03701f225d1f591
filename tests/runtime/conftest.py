"""What the tests of the running wrapper share."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.runtime.wrapped import Inbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    """A socket for NOTIFY_SOCKET that somebody reads."""
    inbox = Inbox(tmp_path / "notify")
    yield inbox
    inbox.close()


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of somebody else's server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
