"""asyncio daemons: the loop itself is what proves that it turns."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from notifywrap import aio
from notifywrap.daemon.notifier import Notifier
from notifywrap.errors import NotifyError

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


def test_no_ping_after_stopping(inbox: Inbox, notifier: Notifier):
    """It would arm systemd's watchdog anew, while connections drain."""

    async def main() -> None:
        notifier.ready()
        async with aio.Watchdog(notifier):
            await heard(inbox, "WATCHDOG", "1")
            notifier.stopping()
            inbox.drain()
            await asyncio.sleep(3 * GRANT_S)
            assert inbox.drain() == []

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


def test_check_that_cannot_be_cancelled_is_told_and_not_asked_again(
    inbox: Inbox, notifier: Notifier
):
    """A call in a thread goes on whatever the loop says. Waiting for it would leave STATUS empty,
    and one more of them at each check would fill the thread pool."""
    asked = []
    is_over = False

    async def deaf() -> bool:
        asked.append(1)
        while not is_over:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        return True

    async def main() -> None:
        nonlocal is_over
        notifier.ready()
        async with aio.Watchdog(notifier, deaf):
            assert "took longer" in (await heard(inbox, "STATUS"))["STATUS"]
            await asyncio.sleep(GRANT_S)
            is_over = True
            assert len(asked) == 1

    asyncio.run(main())


def test_check_whose_own_work_was_cancelled_is_no_evidence_and_no_end(
    inbox: Inbox, notifier: Notifier
):
    """The watchdog must not be what ends of it: the next check may pass."""
    answers: list[asyncio.Future[bool]] = []

    async def cancelled_once() -> bool:
        answers.append(asyncio.get_running_loop().create_future())
        if len(answers) == 1:
            answers[0].cancel()
            await answers[0]
        return True

    async def main() -> None:
        notifier.ready()
        async with aio.Watchdog(notifier, cancelled_once):
            assert "CancelledError" in (await heard(inbox, "STATUS"))["STATUS"]
            await heard(inbox, "WATCHDOG", "1")

    asyncio.run(main())


def test_nothing_is_asked_before_ready(inbox: Inbox, notifier: Notifier):
    """What is asked is not there yet: a daemon would log errors about itself at each start."""
    asked = []

    async def healthy() -> bool:
        asked.append(notifier.is_ready)
        return True

    async def main() -> None:
        async with aio.Watchdog(notifier, healthy):
            await asyncio.sleep(GRANT_S / 2)
            notifier.ready()
            await heard(inbox, "WATCHDOG", "1")

    asyncio.run(main())
    assert asked
    assert all(asked)


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


def test_stop_signals_can_be_left_to_a_framework(inbox: Inbox, notifier: Notifier):
    """A web server that waits for TERM by its own handler would never hear of it."""
    theirs: list[int] = []

    async def reload() -> None: ...

    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, theirs.append, signal.SIGTERM)
        async with aio.Service(notifier, reload, stop_signals=()):
            os.kill(os.getpid(), signal.SIGHUP)
            await heard(inbox, "RELOADING")
            os.kill(os.getpid(), signal.SIGTERM)
            while not theirs:
                await asyncio.sleep(0)
            assert not any("STOPPING" in message for message in inbox.drain())
        await heard(inbox, "STOPPING")

    asyncio.run(main())


def test_stop_in_the_middle_of_a_reload_is_the_last_word(inbox: Inbox, notifier: Notifier):
    """READY=1 after it would bring the watchdog back, which kills the daemon while it drains."""
    begun = asyncio.Event()

    async def reload() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def main() -> None:
        async with aio.Service(notifier, reload) as service:
            os.kill(os.getpid(), signal.SIGHUP)
            await begun.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            await service.stopped()

    asyncio.run(main())
    said = [key for message in inbox.drain() for key in message if key != "MONOTONIC_USEC"]
    assert said == ["READY", "RELOADING", "STOPPING"]


def test_service_that_could_not_begin_takes_no_signals(inbox: Inbox, notifier: Notifier):
    """The process lives on, and TERM has to end it."""
    inbox.vanish()

    async def main() -> None:
        with suppress(NotifyError):
            async with aio.Service(notifier):
                pass
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    asyncio.run(main())


def test_cancelling_a_daemon_is_not_swallowed_by_its_watchdog(notifier: Notifier):
    """A task group or a time-out around it waits for that."""

    async def serve() -> None:
        async with aio.Watchdog(notifier):
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(serve())
        await asyncio.sleep(0)
        for _ in range(2):  # the second one comes while the watchdog is being ended
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({task})
        assert task.cancelled()

    asyncio.run(main())


def test_service_that_ends_by_itself_says_so(inbox: Inbox, notifier: Notifier):
    """systemd's watchdog is off while it cleans up."""

    async def main() -> None:
        async with aio.Service(notifier):
            pass

    asyncio.run(main())
    assert inbox.drain() == [{"READY": "1"}, {"STOPPING": "1"}]
