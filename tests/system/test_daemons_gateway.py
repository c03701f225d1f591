"""MinIO's server code (JuiceFS' S3 gateway): health endpoints, but no sd_notify and no watchdog."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import (
    Daemon,
    burst,
    first_replies,
    gateway,
    hang,
    restarted_after,
    target_pid,
    wrap,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from tests.conftest import Unit

    UnitMaker = Callable[..., Unit]

pytestmark = pytest.mark.systemd

WATCHDOG_S = 1.0


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return gateway(tmp_path)


@pytest.fixture
def service(daemon: Daemon) -> dict[str, Any]:
    return wrap(daemon, "--probe", daemon.probes[0])


@pytest.mark.slow
def test_the_first_health_check_after_each_of_5_starts_passes(
    unit: UnitMaker, daemon: Daemon, service: dict[str, Any]
) -> None:
    """A load balancer that looks right after the start must not take it out again."""
    one = unit(**service, start=False)
    for reply in first_replies(one, daemon, times=5):
        assert reply.startswith("HTTP/1.1 200 OK\r\n"), reply
        assert "\r\nServer: MinIO" in reply, reply


def test_status_names_the_endpoint_and_stop_is_clean(
    unit: UnitMaker, daemon: Daemon, service: dict[str, Any]
) -> None:
    """It closes its session with the metadata store: killed, it would leave a stale one there.

    With KillMode=control-group it gets TERM twice, from systemd and from the wrapper, and the
    second one cuts its end short one time in four: hence mixed, as for every wrapped daemon.
    """
    one = unit(**service, KillMode="mixed")
    status = one.show("StatusText")["StatusText"]
    assert re.fullmatch(rf"ready after \d\.\d+ s, watching {daemon.probes[0]}", status)
    one.stop()
    assert one.show("Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}
    assert "close session 1: <nil>" in one.journal()


@pytest.mark.slow
def test_a_hung_one_is_restarted(unit: UnitMaker, daemon: Daemon, service: dict[str, Any]) -> None:
    """MinIO never says WATCHDOG=1 itself: without the wrapper a hang is not noticed at all."""
    one = unit(**service)
    assert restarted_after(one, hang(one)) <= WATCHDOG_S + 0.5, one.journal()
    assert "Failed with result 'watchdog'" in one.journal()
    assert burst(one, daemon, seconds=0.1, clients=1)["failed"] == 0


@pytest.mark.parametrize(
    "signum",
    [
        pytest.param(signal.SIGKILL, id="KILL"),
        pytest.param(signal.SIGSEGV, id="SEGV", marks=pytest.mark.slow),
    ],
)
def test_a_crashed_one_is_restarted_at_once(
    unit: UnitMaker, daemon: Daemon, service: dict[str, Any], signum: signal.Signals
) -> None:
    """A wrapper that outlives its target, or waits for the watchdog to notice, adds downtime."""
    one = unit(**service)
    crashed = time.monotonic()
    os.kill(target_pid(one), signum)
    assert restarted_after(one, crashed) <= 0.5, one.journal()
    assert "watchdog" not in one.journal()
    assert burst(one, daemon, seconds=0.1, clients=1)["failed"] == 0
