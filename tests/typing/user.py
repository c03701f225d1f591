"""What a user writes, and what a type checker is to make of it. Checked by mypy, never run.

`# type: ignore[code]` marks a wrong use: mypy complains where it is none (warn_unused_ignores).
"""

from __future__ import annotations

import io
import sys
from typing import assert_type

import notifywrap
import notifywrap.testing
from notifywrap import Notifier, NotifyError, Watchdog, aio
from notifywrap.compat import daemon
from notifywrap.compat.sdnotify import SystemdNotifier
from notifywrap.testing import Lab, Manager, NotifyManager, Result, SystemdLab


def tell() -> None:
    assert_type(notifywrap.__version__, str)
    assert_type(notifywrap.ready(), bool)
    assert_type(notifywrap.ready("listening on :8080"), bool)
    assert_type(notifywrap.status("3 clients"), bool)
    assert_type(notifywrap.stopping("draining"), bool)
    assert_type(notifywrap.extend_timeout(30.0), bool)
    assert_type(notifywrap.extend_timeout(30), bool)
    assert_type(notifywrap.errno(28), bool)
    assert_type(notifywrap.trigger_watchdog(), bool)
    assert_type(notifywrap.main_pid(4711), bool)
    assert_type(notifywrap.store_fds([3, io.BytesIO(), sys.stdin], "state", poll=False), bool)
    assert_type(notifywrap.remove_fds("state"), bool)
    assert_type(notifywrap.barrier(), bool)
    assert_type(notifywrap.barrier(timeout_s=1.0), bool)
    with notifywrap.reload("reading the configuration"):
        pass


def tell_wrongly() -> None:
    notifywrap.ready(None)  # type: ignore[arg-type]
    notifywrap.ready(b"up")  # type: ignore[arg-type]
    notifywrap.status()  # type: ignore[call-arg]
    notifywrap.status(3)  # type: ignore[arg-type]
    notifywrap.extend_timeout("30s")  # type: ignore[arg-type]
    notifywrap.errno("ENOSPC")  # type: ignore[arg-type]
    notifywrap.main_pid(None)  # type: ignore[arg-type]
    notifywrap.store_fds(3)  # type: ignore[arg-type]
    notifywrap.store_fds([object()])  # type: ignore[list-item]
    notifywrap.store_fds([3], "state", False)  # type: ignore[call-arg]
    notifywrap.remove_fds()  # type: ignore[call-arg]
    notifywrap.barrier("1s")  # type: ignore[arg-type]
    notifywrap.reload("why").ready()  # type: ignore[attr-defined]
    notifywrap.raedy()  # type: ignore[attr-defined]
    notifywrap.testing.Managers([])  # type: ignore[attr-defined]


def explicit() -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "/run/x"}, unset=True, in_children=True)
    assert_type(notifier.watchdog_s, float | None)
    assert_type(notifier.is_ready, bool)
    assert_type(notifier.ping(), bool)
    notifier.watchdog_s = 3.0  # type: ignore[misc]
    Notifier({"NOTIFY_SOCKET": 3})  # type: ignore[dict-item]
    Notifier({}, True)  # type: ignore[call-arg]
    try:
        notifier.ready()
    except NotifyError as error:
        assert_type(str(error), str)


def watch() -> None:
    def alive() -> bool:
        return True

    def alive_for(seconds: float) -> bool:
        return seconds > 0

    with notifywrap.watchdog(healthy=alive, is_ready=True) as watchdog:
        assert_type(watchdog, Watchdog)
        beat = watchdog.heartbeat("ingest", within=5.0)
        assert_type(beat(), None)
        assert_type(beat.name, str)
        beat.close()
        with watchdog.worker("one", within=5) as worker:
            assert_type(worker(), None)
        watchdog.workers.join("two", within=5.0).close()
        watchdog.forget_worker(4711)
        watchdog.close()
    notifywrap.watchdog(alive_for)  # type: ignore[arg-type]
    notifywrap.watchdog(True)  # type: ignore[arg-type]
    watchdog.heartbeat("ingest", 5.0)  # type: ignore[call-arg]
    watchdog.heartbeat("ingest")  # type: ignore[call-arg]
    watchdog.heartbeat("ingest", within="5s")  # type: ignore[arg-type]
    beat(1)  # type: ignore[call-arg]
    watchdog.worker(4711, within=5.0)  # type: ignore[arg-type]


async def serve() -> None:
    async def alive() -> bool:
        return True

    async def read() -> None:
        pass

    async with aio.watchdog(healthy=alive) as watchdog, aio.service(read, "up") as service:
        assert_type(watchdog, aio.Watchdog)
        assert_type(service, aio.Service)
        watchdog.heartbeat("ingest", within=5.0)()
        assert_type(await service.stopped(), None)
    aio.watchdog(lambda: True)  # type: ignore[arg-type, return-value]
    aio.service(reload=lambda: None)  # type: ignore[arg-type, return-value]
    with aio.watchdog():  # type: ignore[attr-defined]
        pass


def change_an_import() -> None:
    assert_type(SystemdNotifier(debug=True).notify("READY=1"), None)
    SystemdNotifier().notify(b"READY=1")  # type: ignore[arg-type]
    assert_type(daemon.notify("READY=1", False, 0, [3]), bool)
    assert_type(daemon.booted(), bool)
    daemon.notify(status=1)  # type: ignore[arg-type]


def test_process(notify_manager: NotifyManager) -> None:
    manager = notify_manager([sys.executable, "-m", "mydaemon"], watchdog_s=1.0)
    assert_type(manager, Manager)
    assert_type(manager.wait_ready(5), float)
    assert_type(manager.status, str)
    assert_type(manager.pings, list[float])
    assert_type(manager.watchdog_gap, float)
    assert_type(manager.stop(5), Result | None)
    assert_type(manager.wait_ended(5), Result)
    notify_manager("mydaemon", watchdog_s="1s")  # type: ignore[arg-type]
    notify_manager([], watchdog=1.0)  # type: ignore[call-arg]
    manager.wait_ready()  # type: ignore[call-arg]


def test_unit(systemd_lab: SystemdLab) -> None:
    systemd_lab.install("mydaemon.service")
    assert_type(systemd_lab.systemctl("start", "mydaemon").returncode, int)
    assert_type(systemd_lab.wait("mydaemon", ActiveState="active"), dict[str, str])
    assert_type(systemd_lab.journal("mydaemon"), str)
    with Lab(net="host") as lab:
        assert_type(lab.pid, int)
    Lab(net="none")  # type: ignore[arg-type]
