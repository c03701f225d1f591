"""examples/queue_consumer: threads that take jobs from Redis."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING

import pytest
import redis

from notifywrap.testing.lab import LabError
from tests.examples.broker import broker, poll, wait_status
from tests.examples.conftest import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit
    from tests.examples.broker import Broker

__all__ = ["broker"]

pytestmark = pytest.mark.slow

WATCHDOG_S = 2.0
ALL_ARE_THERE = "every consumer takes jobs"
numbers = count(1)


@pytest.fixture
def make(example: Callable[..., Unit]) -> Callable[..., Unit]:
    """The example; `make(JOB_LIMIT_S=1)` for settings of its own."""

    def install(*, start: bool = True, **environment: object) -> Unit:
        words = {"PYTHONFAULTHANDLER": 1, "CONSUMERS": 4, "JOB_LIMIT_S": 60} | environment
        given = " ".join(f"{key}={value}" for key, value in words.items())
        return example(
            "queue_consumer", start=start, WatchdogSec=f"{WATCHDOG_S}s", Environment=given
        )

    return install


def give(client: redis.Redis, do: str, **how: object) -> str:
    """Queue a job, and return its id."""
    name = f"job-{next(numbers)}"
    client.lpush("jobs", json.dumps({"id": name, "do": do, **how}))
    return name


def wait_done(client: redis.Redis, name: str) -> object:
    return json.loads(poll(lambda: client.hget("results", name)))


@pytest.mark.systemd
def test_ready_when_every_consumer_is_connected(
    lab: Lab, broker: Broker, make: Callable[..., Unit]
):
    """Not before: a unit that is ordered after this one counts on it. Redis may come later."""
    one = make(start=False)
    lab.systemctl("start", "--no-block", one.name, check=True)
    wait_status(one, "4 consumers wait for Redis")
    assert one.show("ActiveState") == {"ActiveState": "activating"}
    broker.unit.start()
    one.wait(ActiveState="active", StatusText=ALL_ARE_THERE)
    names = {client["name"] for client in broker.client.client_list()}
    assert names >= {"consumer-1", "consumer-2", "consumer-3", "consumer-4"}
    assert wait_done(broker.client, give(broker.client, "sum", numbers=[1, 2])) == 3


@pytest.mark.systemd
def test_one_stuck_consumer_is_named_and_the_next_life_works(
    broker: Broker, make: Callable[..., Unit]
):
    """The others take jobs until then: neither a port nor the results show it. And what it was
    stuck in is not tried again, or the next life would end the same way."""
    broker.unit.start()
    one = make(DEMONSTRATION=1, JOB_LIMIT_S=1)
    give(broker.client, "block for ever")
    assert wait_done(broker.client, give(broker.client, "sum", numbers=[1, 2])) == 3
    status = wait_status(one, "unhealthy")
    assert re.fullmatch(r"unhealthy: consumer-\d silent for [\d.]+ s", status), status
    one.wait(NRestarts="1", ActiveState="active")
    assert "Watchdog timeout" in one.journal()
    assert "in demonstrate" in one.journal(), "where it hung, from faulthandler"
    assert wait_done(broker.client, give(broker.client, "sum", numbers=[3, 4])) == 7
    assert [json.loads(job)["do"] for job in broker.client.lrange("jobs:failed", 0, -1)] == [
        "block for ever"
    ]


@pytest.mark.systemd
def test_consumer_that_dies_takes_the_service_to_its_next_life(
    broker: Broker, make: Callable[..., Unit]
):
    """At once, and with its reason in the journal; a thread less would be noticed by nobody. What
    the others are at is finished."""
    broker.unit.start()
    one = make(DEMONSTRATION=1)
    under_way = give(broker.client, "wait", length_s=2.0)
    poll(lambda: broker.client.llen("jobs") == 0)
    give(broker.client, "end the thread")
    one.wait(NRestarts="1", ActiveState="active")
    assert re.search(r"consumer-\d died: SystemExit\(.*the whole program", one.journal())
    assert broker.client.hexists("results", under_way)
    assert wait_done(broker.client, give(broker.client, "sum", numbers=[3, 4])) == 7


@pytest.mark.systemd
def test_job_that_fails_is_set_aside_and_its_consumer_lives_on(
    broker: Broker, make: Callable[..., Unit]
):
    """With one consumer, so that it is the same one."""
    broker.unit.start()
    one = make(CONSUMERS=1)
    give(broker.client, "sum", numbers=["a"])
    assert wait_done(broker.client, give(broker.client, "sum", numbers=[1])) == 1
    assert broker.client.llen("jobs:failed") == 1
    assert one.show("NRestarts") == {"NRestarts": "0"}


@pytest.mark.systemd
@pytest.mark.parametrize("work", ["none", "short jobs", "a long job"])
def test_service_that_works_is_left_alone(broker: Broker, make: Callable[..., Unit], work: str):
    """For five times as long as systemd would wait; a job may take longer than that as well."""
    broker.unit.start()
    one = make()
    given = []

    def go_on() -> bool:
        if work == "short jobs":
            given.append(give(broker.client, "sum", numbers=[1, 2]))
        return int(one.show("NRestarts")["NRestarts"]) > 0

    if work == "a long job":
        given.append(give(broker.client, "wait", length_s=5 * WATCHDOG_S))
    with pytest.raises(AssertionError, match="not within"):
        poll(go_on, 5 * WATCHDOG_S)
    assert one.show("StatusText") == {"StatusText": ALL_ARE_THERE}
    for name in given:
        wait_done(broker.client, name)
    assert one.show("NRestarts") == {"NRestarts": "0"}


@pytest.mark.systemd
def test_stop_lets_jobs_finish(broker: Broker, make: Callable[..., Unit]):
    """And takes no new ones; the watchdog does not come into it, longer than it waits."""
    broker.unit.start()
    one = make()
    name = give(broker.client, "wait", length_s=2 * WATCHDOG_S)
    poll(lambda: broker.client.llen("jobs") == 0)
    one.stop()
    assert broker.client.hexists("results", name)
    assert one.show("Result", "NRestarts") == {"Result": "success", "NRestarts": "0"}
    assert broker.client.keys("jobs*") == []


@pytest.mark.systemd
@pytest.mark.parametrize("how", ["ended", "hanging"])
def test_redis_that_is_away_is_waited_for(broker: Broker, make: Callable[..., Unit], how: str):
    """A new life would not bring it back, and STATUS says what is missing. Then work goes on."""
    broker.unit.start()
    one = make(ANSWER_S=0.5)  # so that a consumer may be silent for 8 s
    if how == "ended":
        broker.unit.stop()
    else:
        broker.unit.kill("STOP")
    with pytest.raises(LabError, match="waited 14 s"):
        one.wait(NRestarts="1", timeout_s=14.0)
    assert "4 consumers wait for Redis" in wait_status(one, "wait for Redis")
    if how == "ended":
        broker.unit.start()
    else:
        broker.unit.kill("CONT")
    one.wait(StatusText=ALL_ARE_THERE, NRestarts="0")
    assert wait_done(broker.client, give(broker.client, "sum", numbers=[1, 2])) == 3


def test_without_systemd_it_works_as_well(tmp_path: Path):
    """Whoever writes it starts it in a terminal."""
    socket = tmp_path / "redis.sock"
    words = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    environment = {k: v for k, v in os.environ.items() if k != "NOTIFY_SOCKET"}
    environment |= {"REDIS_URL": f"unix://{socket}", "PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, EXAMPLES / "queue_consumer/queue_consumer.py"]
    with subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL) as server:
        try:
            with subprocess.Popen(command, env=environment) as process:
                poll(socket.exists)
                with redis.Redis(unix_socket_path=str(socket), decode_responses=True) as client:
                    assert wait_done(client, give(client, "sum", numbers=[1, 2])) == 3
                process.send_signal(signal.SIGTERM)
            assert process.returncode == 0
        finally:
            server.terminate()
