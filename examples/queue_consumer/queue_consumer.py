"""Threads that take jobs from a Redis list; one of them that is stuck does not go unnoticed.

A job is JSON, `{"id": "7", "do": "sum", "numbers": [1, 2]}`, pushed to the list `jobs`; its result
comes into the hash `results`. `BLMOVE` keeps a job in the list `jobs:NAME` while consumer NAME is
at it, so that none is lost with the process.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import notifywrap

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
CONSUMERS = int(os.environ.get("CONSUMERS", "4"))
# What a job may take. One that takes longer is taken for stuck, and the service begins a new life.
JOB_LIMIT_S = float(os.environ.get("JOB_LIMIT_S", "60"))
# A wait for a job ends after so long without one: that is how an idle consumer shows itself.
IDLE_S = 2.0
# Beyond it: a connection can die without a word, and without a limit a read waits for ever.
ANSWER_S = float(os.environ.get("ANSWER_S", "5"))
RETRY_S = 1.0
# More than one round can take: to connect, to wait for a job, to wait before the next try.
IDLE_LIMIT_S = 2 * (ANSWER_S + IDLE_S + ANSWER_S + RETRY_S)

JOBS = {
    "sum": lambda job: sum(job["numbers"]),
    "wait": lambda job: time.sleep(job["length_s"]),
}


class Life:
    """What the threads share: who has a connection, and whether the service is to end."""

    def __init__(self, names: list[str]) -> None:
        self.is_over = False  # not an Event: a signal handler may not take its lock
        self._without = dict.fromkeys(names, "not yet connected")
        self._lock = threading.Lock()

    def has_connection(self, name: str) -> None:
        with self._lock, contextlib.suppress(notifywrap.NotifyError):  # work goes on, told or not
            if self._without.pop(name, None) and not self._without:
                # After an outage it is only the new STATUS: systemd knows READY=1 already.
                notifywrap.ready("every consumer takes jobs")

    def has_none(self, name: str, error: Exception) -> None:
        with self._lock, contextlib.suppress(notifywrap.NotifyError):
            self._without[name] = str(error)
            notifywrap.status(f"{len(self._without)} consumers wait for Redis: {error}")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(threadName)s: %(message)s")
    names = [f"consumer-{number}" for number in range(1, CONSUMERS + 1)]
    life = Life(names)

    def stop(*_: object) -> None:
        life.is_over = True

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
    notifywrap.status(f"connecting to Redis at {REDIS_URL.rpartition('@')[2]}")
    with notifywrap.watchdog() as watchdog, ThreadPoolExecutor(CONSUMERS) as pool:
        threads = {pool.submit(consume, name, life, watchdog): name for name in names}
        ended, _ = wait(threads, return_when=FIRST_EXCEPTION)
        life.is_over = True
        dead = [f"{threads[one]} died: {one.exception()!r}" for one in ended if one.exception()]
        notifywrap.stopping(", ".join(dead))
        # The others finish their jobs now; TimeoutStopSec= is the limit to that.
    if dead:
        # A consumer less would be a queue that grows and nobody knows why: end, and be restarted.
        sys.exit(", ".join(dead))


def consume(name: str, life: Life, watchdog: notifywrap.Watchdog) -> None:
    """One consumer. Its heartbeat says: I got an answer from Redis, or tried to and am trying on.

    Redis that is down gets no consumer restarted: a new life would not bring it back, would break
    off the jobs that are running, and a hundred services that restart would meet it when it comes
    up. So STATUS says what is missing, and pings go on. What restarts Redis is its own unit.
    """
    threading.current_thread().name = name
    # No retries inside: nobody would see them, and a BLMOVE is not to be sent twice.
    queue = redis.Redis.from_url(
        REDIS_URL,
        socket_connect_timeout=ANSWER_S,
        socket_timeout=IDLE_S + ANSWER_S,
        retry=Retry(NoBackoff(), 0),
        client_name=name,
        decode_responses=True,
    )
    mine = f"jobs:{name}"
    while not life.is_over:
        watchdog.heartbeat(name, within=IDLE_LIMIT_S)
        try:
            # Left by a life that was killed, or when the connection broke. It may be what that life
            # got stuck in: for people to see, not to be tried again.
            while queue.lmove(mine, "jobs:failed", "RIGHT", "LEFT"):
                pass
            life.has_connection(name)
            job = queue.blmove("jobs", mine, IDLE_S, "RIGHT", "LEFT")
            if job is not None:
                watchdog.heartbeat(name, within=JOB_LIMIT_S)  # a job has a limit of its own
                finish(queue, mine, job, work(job))
        except (redis.ConnectionError, redis.TimeoutError) as error:
            life.has_none(name, error)
            time.sleep(RETRY_S)


def work(job: str) -> str | None:
    """Its result; None when it failed. Whatever a job raises, its consumer lives on."""
    try:
        what = json.loads(job)
        if "DEMONSTRATION" in os.environ:
            demonstrate(what)
        return json.dumps(JOBS[what["do"]](what))
    except Exception:
        logging.exception("job %r failed", job)
        return None


def finish(queue: redis.Redis, mine: str, job: str, result: str | None) -> None:
    with queue.pipeline() as all_or_nothing:
        if result is None:
            all_or_nothing.lpush("jobs:failed", job)
        else:
            all_or_nothing.hset("results", json.loads(job)["id"], result)
        all_or_nothing.lrem(mine, 1, job)
        all_or_nothing.execute()


def demonstrate(what: dict[str, object]) -> None:
    """What can go wrong, to see what systemd then does."""
    if what["do"] == "block for ever":
        threading.Event().wait()
    if what["do"] == "end the thread":
        sys.exit("a library thought it was the whole program")


if __name__ == "__main__":
    main()
