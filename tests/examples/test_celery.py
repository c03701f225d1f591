"""examples/celery: a Celery worker with a prefork pool."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from celery.exceptions import TimeLimitExceeded

from tests.examples.broker import broker, poll, wait_status
from tests.examples.conftest import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit
    from tests.examples.broker import Broker

__all__ = ["broker"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

WATCHDOG_S = 4.0
ALL_ARE_THERE = "4 pool processes take tasks"


def make_sender(socket: Path) -> Celery:
    """Another program's side: it sends tasks by name, and reads their results."""
    url = f"redis+socket://{socket}"
    sender = Celery("sender", broker=url, backend=url, set_as_current=False)
    sender.conf.broker_connection_retry_on_startup = True
    return sender


@pytest.fixture
def sender(broker: Broker) -> Iterator[Celery]:
    """Sends through the broker of this test."""
    with make_sender(broker.socket) as sender:
        yield sender


def add(sender: Celery, x: int, y: int) -> int:
    return sender.send_task("shop.add", (x, y)).get(timeout=30)


@pytest.fixture
def make(example: Callable[..., Unit]) -> Callable[..., Unit]:
    """The example; `make(TASK_LIMIT_S=1)` for settings of its own."""

    def install(*, start: bool = True, **environment: object) -> Unit:
        words = {"PYTHONFAULTHANDLER": 1, "DEMONSTRATION": 0} | environment
        given = " ".join(f"{key}={value}" for key, value in words.items())
        return example("celery", start=start, WatchdogSec=f"{WATCHDOG_S}s", Environment=given)

    return install


def restarts(one: Unit) -> int:
    return int(one.show("NRestarts")["NRestarts"])


@pytest.mark.systemd
def test_ready_when_every_pool_process_is_initialized(
    lab: Lab, broker: Broker, sender: Celery, make: Callable[..., Unit]
):
    """Celery's own signal worker_ready comes before. And not without a broker."""
    one = make(start=False, DEMONSTRATION=5)
    lab.systemctl("start", "--no-block", one.name, check=True)
    poll(lambda: "Cannot connect to redis" in one.journal())
    assert one.show("ActiveState", "StatusText") == {
        "ActiveState": "activating",
        "StatusText": "connecting to the broker",
    }
    lab.systemctl("stop", one.name, check=True)
    broker.unit.start()
    begin = time.monotonic()
    one.start()
    assert time.monotonic() - begin > 5.0, one.journal()
    assert one.show("StatusText") == {"StatusText": ALL_ARE_THERE}
    assert add(sender, 1, 2) == 3


@pytest.mark.systemd
def test_stuck_task_is_named_and_the_next_life_works(
    broker: Broker, sender: Celery, make: Callable[..., Unit]
):
    """One of four pool processes: the others work on, `celery inspect ping` is answered."""
    broker.unit.start()
    one = make(TASK_LIMIT_S=1)
    stuck = sender.send_task("shop.block_for_ever").id
    assert add(sender, 1, 2) == 3
    status = wait_status(one, "unhealthy")
    assert re.match(
        rf"unhealthy: task shop.block_for_ever\[{stuck}\] in process \d+ silent for", status
    )
    assert sender.control.ping(timeout=0.5), "the worker itself is well"
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30.0)
    assert "Watchdog timeout" in one.journal()
    assert add(sender, 3, 4) == 7
    assert one.show("StatusText") == {"StatusText": ALL_ARE_THERE}


@pytest.mark.systemd
def test_pool_process_that_takes_no_task_is_found(
    broker: Broker, sender: Celery, make: Callable[..., Unit]
):
    """Celery gives it tasks all the same: those who sent them wait, and nothing is in any log."""
    broker.unit.start()
    one = make(TAKE_LIMIT_S=1)
    _, frozen, *_ = sorted(one.pids())
    os.kill(frozen, signal.SIGSTOP)
    for _ in range(8):
        sender.send_task("shop.add", (1, 2))
    status = wait_status(one, "unhealthy")
    assert re.match(r"unhealthy: task shop.add\[.*\], which no pool process takes, silent", status)
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30.0)
    assert add(sender, 3, 4) == 7


@pytest.mark.systemd
def test_event_loop_that_hangs_is_named(broker: Broker, sender: Celery, make: Callable[..., Unit]):
    """No more tasks are taken then; a thread of its own would ping on."""
    broker.unit.start()
    one = make()
    sender.control.broadcast("block_event_loop")
    assert wait_status(one, "unhealthy").startswith("unhealthy: event loop silent for")
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30.0)
    assert "in block_event_loop" in one.journal(), "where it hung, from faulthandler"
    assert add(sender, 3, 4) == 7


@pytest.mark.systemd
def test_time_limit_of_celery_comes_first(
    broker: Broker, sender: Celery, make: Callable[..., Unit]
):
    """It ends one task; the watchdog, that would end all, is not needed."""
    broker.unit.start()
    one = make()
    running = sender.send_task("shop.take", (2 * WATCHDOG_S,))
    with pytest.raises(TimeLimitExceeded):
        sender.send_task("shop.block_until_killed").get(timeout=30)
    assert running.get(timeout=30) == 2 * WATCHDOG_S
    assert [add(sender, n, 1) for n in range(8)] == [n + 1 for n in range(8)]
    assert one.show("NRestarts") == {"NRestarts": "0"}


@pytest.mark.systemd
@pytest.mark.parametrize("work", ["none", "short tasks", "more tasks than processes"])
def test_worker_that_works_is_left_alone(
    broker: Broker, sender: Celery, make: Callable[..., Unit], work: str
):
    """For five times as long as systemd would wait. Tasks that wait for a busy pool are no sign of
    trouble."""
    broker.unit.start()
    one = make(TAKE_LIMIT_S=3)
    given = []

    def go_on() -> bool:
        if work == "short tasks":
            given.append(sender.send_task("shop.add", (1, 2)))
        return restarts(one) > 0

    if work == "more tasks than processes":
        given = [sender.send_task("shop.take", (2 * WATCHDOG_S,)) for _ in range(9)]
    with pytest.raises(AssertionError, match="not within"):
        poll(go_on, 5 * WATCHDOG_S)
    for task in given:
        task.get(timeout=30)
    assert one.show("NRestarts", "StatusText") == {"NRestarts": "0", "StatusText": ALL_ARE_THERE}


@pytest.mark.systemd
def test_stop_lets_tasks_finish(broker: Broker, sender: Celery, make: Callable[..., Unit]):
    """Celery's warm shutdown, for longer than the watchdog would wait."""
    broker.unit.start()
    one = make()
    task = sender.send_task("shop.take", (2 * WATCHDOG_S,))
    poll(lambda: "shop.take" in one.journal())
    one.lab.systemctl("stop", "--no-block", one.name, check=True)
    assert wait_status(one, "to end") == "waiting for 1 tasks to end"
    one.wait(ActiveState="inactive", Result="success", NRestarts="0", timeout_s=30.0)
    assert task.get(timeout=5) == 2 * WATCHDOG_S


@pytest.mark.systemd
@pytest.mark.parametrize("how", ["ended", "hanging"])
def test_broker_that_is_away_is_waited_for(
    broker: Broker, sender: Celery, make: Callable[..., Unit], how: str
):
    """A new life would not bring it back, and would break off the tasks that run."""
    broker.unit.start()
    one = make(RECONNECT_LIMIT_S=12, BROKER_TIMEOUT_S=0.5)
    if how == "ended":
        broker.unit.stop()
    else:
        broker.unit.kill("STOP")
    wait_status(one, "waiting for the broker")
    with pytest.raises(AssertionError, match="not within"):
        poll(lambda: restarts(one) > 0, 5 * WATCHDOG_S)
    if how == "ended":
        broker.unit.start()
    else:
        broker.unit.kill("CONT")
    assert add(sender, 1, 2) == 3
    wait_status(one, "connected to the broker")
    assert one.show("NRestarts") == {"NRestarts": "0"}


@pytest.mark.systemd
def test_worker_that_hears_nothing_through_its_broker_is_restarted(
    broker: Broker, sender: Celery, make: Callable[..., Unit]
):
    """Its connection is there, its loop turns, and the broker answers others."""
    broker.unit.start()
    one = make()
    sender.control.broadcast("answer_nothing")
    assert "echo from the broker silent" in wait_status(one, "unhealthy")
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30.0)
    assert add(sender, 1, 2) == 3


@pytest.mark.systemd
def test_worker_that_does_not_find_back_to_its_broker_is_restarted(
    broker: Broker, sender: Celery, make: Callable[..., Unit]
):
    """Others reach it: this is the worker's own fault. (Here it waits for 10 s before it tries
    again, and is expected to be back within 3.)"""
    broker.unit.start()
    one = make(RECONNECT_LIMIT_S=3)
    broker.unit.stop()
    poll(lambda: "Trying again in 10.00 seconds" in one.journal(), 60.0)
    assert one.show("NRestarts") == {"NRestarts": "0"}
    broker.unit.start()
    assert "way back to the broker silent" in wait_status(one, "unhealthy")
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30.0)
    assert add(sender, 1, 2) == 3


def test_without_systemd_it_works_as_well(tmp_path: Path):
    """Whoever writes it starts it in a terminal."""
    socket = tmp_path / "redis.sock"
    words = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    environment = {k: v for k, v in os.environ.items() if k != "NOTIFY_SOCKET"}
    environment |= {
        "REDIS_URL": f"redis+socket://{socket}",
        "PYTHONPATH": f"{EXAMPLES.parent}",
    }
    command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "--concurrency=2"]
    with subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL) as server:
        try:
            poll(socket.exists)
            with subprocess.Popen(command, env=environment, cwd=EXAMPLES / "celery") as process:
                with make_sender(socket) as sender:
                    assert add(sender, 1, 2) == 3
                process.send_signal(signal.SIGTERM)
            assert process.returncode == 0
        finally:
            server.terminate()
