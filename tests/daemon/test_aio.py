"""asyncio daemons: the loop itself is what proves that it turns."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from notifywrap import aio
from notifywrap.daemon.notifier import Notifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.runtime.wrapped import Inbox

GRANT_S = 0.2


@pytest.fixture
def notifier(inbox: Inbox) -> Notifier:
    """Under a systemd that expects a ping every 0.2 s."""
    usec = str(int(GRANT_S * 1e6))
    return Notifier({"NOTIFY_SOCKET": inbox.path, "WATCHDOG_USEC": usec})


async def heard(inbox: Inbox, key: str, value: str | None = None) -> dict[str, str]:
    """Wait for a message while the loop goes on."""
    return await asyncio.to_thread(inbox.wait, key, value)


def test_turning_loop_is_pinged_for(inbox: Inbox, notifier: Notifier):
    """And nobody has to remember to call anything."""

    async def main() -> None:
        notifier.ready()
        async with aio.Watchdog(notifier):
            for _ in range(3):
                await heard(inbox, "WATCHDOG", "1")

    asyncio.run(main())


def test_blocked_loop_gets_no_ping_and_its_lag_is_told(inbox: Inbox, notifier: Notifier):
    """A thread would ping on: time.sleep() in a handler is the commonest hang of all."""

    async def main() -> None:
        notifier.ready()
        async with aio.Watchdog(notifier):
            await heard(inbox, "WATCHDOG", "1")
            inbox.drain()
            until = time.monotonic() + 3 * GRANT_S
            while time.monotonic() < until:  # what a blocking handler does to the loop
                pass
            assert inbox.drain() == []
            assert "event loop was 0." in (await heard(inbox, "STATUS"))["STATUS"]

    asyncio.run(main())


async def raises() -> bool:
    raise OSError("no database")


async def says_no() -> bool:
    return False


async def hangs() -> bool:
    await asyncio.Event().wait()
    return True


@pytest.mark.parametrize(
    ("healthy", "why"), [(raises, "no database"), (says_no, "says no"), (hangs, "took longer")]
)
def test_check_that_does_not_pass_gets_no_ping(
    inbox: Inbox, notifier: Notifier, healthy: Callable[[], Awaitable[bool]], why: str
):
    """STATUS says why."""

    async def main() -> None:
        notifier.ready()
        async with aio.Watchdog(notifier, healthy):
            assert why in (await heard(inbox, "STATUS"))["STATUS"]

    asyncio.run(main())
    assert not any("WATCHDOG" in message for message in inbox.drain())


def test_late_task_is_named(inbox: Inbox, notifier: Notifier):
    """The loop turns, and one of its tasks waits for ever."""

    async def main() -> None:
        notifier.ready()
        async with aio.Watchdog(notifier) as watchdog:
            watchdog.heartbeat("ingest", within=GRANT_S)
            assert "ingest silent" in (await heard(inbox, "STATUS", "unhealthy"))["STATUS"]

    asyncio.run(main())


def test_life_of_a_service(inbox: Inbox, notifier: Notifier):
    """READY=1, a reload that works, one that fails, and STOPPING=1 at TERM."""
    reloads = []

    async def reload() -> None:
        reloads.append(1)
        if len(reloads) == 2:
            raise ValueError("bad port")

    async def main() -> None:
        async with aio.Service(notifier, reload, "up") as service:
            assert inbox.next() == {"READY": "1", "STATUS": "up"}
            os.kill(os.getpid(), signal.SIGHUP)
            await heard(inbox, "RELOADING")
            assert await heard(inbox, "READY") == {"READY": "1"}
            os.kill(os.getpid(), signal.SIGHUP)
            assert "bad port" in (await heard(inbox, "READY"))["STATUS"]
            os.kill(os.getpid(), signal.SIGTERM)
            await service.stopped()
            assert inbox.next() == {"STOPPING": "1"}

    asyncio.run(main())
    assert inbox.drain() == []


def test_service_that_ends_by_itself_says_so(inbox: Inbox, notifier: Notifier):
    """systemd's watchdog is off while it cleans up."""

    async def main() -> None:
        async with aio.Service(notifier):
            pass

    asyncio.run(main())
    assert inbox.drain() == [{"READY": "1"}, {"STOPPING": "1"}]
