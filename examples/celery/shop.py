"""A Celery application: its settings and its tasks. `watch(app)` is all that systemd needs."""

import os
import threading
import time

from celery import Celery
from celery.signals import worker_process_init
from celery.worker.control import Panel, control_command
from worker_watchdog import watch

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
BROKER_TIMEOUT_S = float(os.environ.get("BROKER_TIMEOUT_S", "5"))

app = Celery("shop", broker=REDIS_URL, backend=REDIS_URL)
app.conf.update(
    # By default a worker gives up after 100 tries. A new life would not bring the broker back.
    broker_connection_max_retries=None,
    broker_connection_retry_on_startup=True,
    # By default the event loop waits without end for a broker that vanishes without a word.
    # Well below WatchdogSec=, which the event loop has to turn.
    broker_transport_options={
        "socket_timeout": BROKER_TIMEOUT_S,
        "socket_connect_timeout": BROKER_TIMEOUT_S,
    },
    # What waits inside a worker that is killed comes back after visibility_timeout (an hour).
    worker_prefetch_multiplier=1,
    # By default a pool process that is not initialized within 4 s is killed and replaced.
    worker_proc_alive_timeout=30.0,
)
watch(app)


# Celery's own limits come first, and cost least: at the soft one the task gets an exception, at the
# hard one its process is killed and replaced, and all other tasks run on. The watchdog is for what
# they cannot do: a task without limits, a pool process that takes none, a worker that hangs.
@app.task(soft_time_limit=270, time_limit=300)
def add(x: int, y: int) -> int:
    return x + y


# By default a task is acknowledged when it begins: one that the watchdog has ended is not tried
# again. With acks_late it is (after visibility_timeout), and one that always hangs always returns.
@app.task
def take(length_s: float) -> float:
    """Takes its time. Without limits of its own it has TASK_LIMIT_S."""
    time.sleep(length_s)
    return length_s


if "DEMONSTRATION" in os.environ:  # what can go wrong, to see what systemd then does

    @app.task
    def block_for_ever() -> None:
        threading.Event().wait()

    @app.task(time_limit=1)
    def block_until_killed() -> None:
        threading.Event().wait()

    @control_command()
    def block_event_loop(_: object) -> None:
        threading.Event().wait()

    @control_command()
    def answer_nothing(_: object) -> None:
        Panel.data.clear()

    @worker_process_init.connect
    def begin_slowly(**_: object) -> None:
        """As one that loads a large model; this many seconds."""
        time.sleep(float(os.environ["DEMONSTRATION"]))
