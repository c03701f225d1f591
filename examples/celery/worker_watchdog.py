"""A Celery worker (prefork pool) that tells systemd the truth about itself: `watch(app)`.

READY=1  when every pool process has been initialized, the event loop turns, and a message of the
         worker to itself has come back through the broker.
Pings    while the loop turns, such messages come back, and each task gets on: one that waits is
         taken when a pool process is free, one that runs ends within its limit.
STATUS   names what does not.

While the broker is away the worker waits for it: a new life would not bring it back, and would
break off the tasks that run. But when the broker answers others, and this worker does not find back
to it, then it is the worker's own fault.

Source: docs.celeryq.dev: "Extensions and Bootsteps", "Signals", "Workers Guide".
"""

import contextlib
import os
from functools import partial

from celery import Celery, bootsteps
from celery.signals import worker_init, worker_process_init, worker_shutting_down
from celery.worker.control import control_command
from celery.worker.request import Request
from celery.worker.state import active_requests, reserved_requests
from kombu.exceptions import OperationalError

import notifywrap

# A task without a time limit of its own may run for so long.
TASK_LIMIT_S = float(os.environ.get("TASK_LIMIT_S", "3600"))
# At its time limit Celery kills a task's process. If it still runs so much later, nobody has.
KILL_S = 30.0
# A pool process is free, a task waits, and nobody takes it.
TAKE_LIMIT_S = float(os.environ.get("TAKE_LIMIT_S", "30"))
# Celery waits for up to 30 s between two tries to connect.
RECONNECT_LIMIT_S = float(os.environ.get("RECONNECT_LIMIT_S", "90"))

# What is watched besides tasks; STATUS has these names.
LOOP, ECHO, WAY_BACK = "event loop", "echo from the broker", "way back to the broker"
AWAY, CONNECTED = "waiting for the broker", "connected to the broker"


def watch(app: Celery) -> None:
    """Every worker of *app* tells systemd from now on. In a program that only sends tasks this does
    nothing."""
    app.steps["consumer"].add(TellSystemd)
    worker_init.connect(lambda **_: notifywrap.status("connecting to the broker"), weak=False)


class TellSystemd(bootsteps.StartStopStep):
    """Started whenever the worker has a connection to the broker, stopped when it is lost.

    All but _call_myself() runs in the worker's main thread.
    """

    requires = ("celery.worker.consumer.control:Control",)

    def __init__(self, consumer, **_):
        super().__init__(consumer)
        self._app = consumer.app
        # WatchdogSec=. A message goes to all workers, as those of `celery inspect` do: where there
        # are a hundred, choose a longer one.
        self._watchdog_s = notifywrap.Notifier().watchdog_s or 60.0
        self._watchdog = None
        self._beats = {}
        self._tasks = {}
        self._timer = None
        self._is_ready = self._is_stopping = self._is_away = False
        # Each pool process adds one here when it has been initialized: they are forked later.
        self._counter = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._initialized = 0
        worker_process_init.connect(self._on_process_init)
        worker_shutting_down.connect(self._on_shutting_down)
        control_command(name="echo_to_myself", visible=False)(self._on_echo)

    def start(self, consumer):
        if not notifywrap.status(CONNECTED):
            return  # no systemd
        if self._watchdog is None:  # only now: when the pool forked there was no thread yet
            asked = partial(self._call_myself, consumer.hostname)
            self._watchdog = notifywrap.watchdog(healthy=asked)
        self._expect({LOOP: self._watchdog_s, ECHO: 2 * self._watchdog_s})
        self._look_after(0.1, consumer)

    def stop(self, consumer):
        if self._timer is None:
            return
        consumer.timer.cancel(self._timer)
        if self._is_stopping:
            self._expect({})
        else:
            self._expect({WAY_BACK: RECONNECT_LIMIT_S})
            notifywrap.status(AWAY)

    def _expect(self, parts):
        for beat in (*self._beats.values(), *self._tasks.values()):
            beat.close()
        self._tasks = {}
        self._beats = {n: self._watchdog.heartbeat(n, within=s) for n, s in parts.items()}

    def _look_after(self, length_s, consumer):
        self._timer = consumer.timer.call_after(length_s, self._look, (consumer,))

    def _look(self, consumer):
        """What an exception in here ends is the looks, and with them the pings."""
        self._beats[LOOP]()
        self._look_at_tasks(consumer)
        if not self._is_ready:
            self._call_myself(consumer.hostname)
        self._look_after(self._watchdog_s / 6 if self._is_ready else 0.2, consumer)

    def _look_at_tasks(self, consumer):
        """A heartbeat for each task; all that one has to do is to end, or to be taken, in time."""
        all_are_busy = len(active_requests) >= consumer.pool.num_processes
        seen = {}
        for task in {*reserved_requests, *active_requests}:
            runs = task in active_requests
            beat = self._tasks.pop((task.id, runs), None)
            if beat is None:
                name, limit_s = describe(task, runs, consumer.controller.time_limit)
                beat = self._watchdog.heartbeat(name, within=limit_s)
            if all_are_busy and not runs:
                beat()
            seen[task.id, runs] = beat
        for beat in self._tasks.values():
            beat.close()
        self._tasks = seen

    def _on_process_init(self, **_):
        os.eventfd_write(self._counter, 1)  # in the pool process

    def _on_echo(self, state):
        if (beat := self._beats.get(ECHO)) is not None:
            beat()
        with contextlib.suppress(BlockingIOError):  # no more of them
            self._initialized += os.eventfd_read(self._counter)
        processes = state.consumer.pool.num_processes
        if not self._is_ready and self._initialized >= processes:
            self._is_ready = True
            notifywrap.ready(f"{processes} pool processes take tasks")

    def _on_shutting_down(self, **_):
        """TERM: what runs may end (Celery's warm shutdown), within TimeoutStopSec=."""
        self._is_stopping = True
        notifywrap.stopping(f"waiting for {len(active_requests)} tasks to end")

    def _call_myself(self, hostname):
        """Before each ping, in the watchdog's thread and by a connection of its own: in the event
        loop a broker that hangs would be waited for."""
        is_away = False
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=0)
                echo = {"destination": [hostname], "connection": connection}
                self._app.control.broadcast("echo_to_myself", **echo)
        except (OperationalError, *self._app.connection_for_write().connection_errors):
            # Not for this worker alone, then: it may wait. So may its event loop, in which Celery
            # sends its own events to the broker, and sends them again.
            is_away = True
            for beat in list(self._beats.values()):
                beat()
        if is_away is not self._is_away:
            self._is_away = is_away
            notifywrap.status(AWAY if is_away else CONNECTED)
        return True


def describe(task: Request, runs: bool, worker_limit_s: float | None) -> tuple[str, float]:
    """The task in STATUS, and how long it may be like that."""
    who = f"task {task.name}[{task.id}]"
    if not runs:
        return f"{who}, which no pool process takes,", TAKE_LIMIT_S
    limit_s = task.time_limits[0] or task.task.time_limit or worker_limit_s
    name = f"{who} in process {task.worker_pid}"
    return name, limit_s + KILL_S if limit_s else TASK_LIMIT_S
