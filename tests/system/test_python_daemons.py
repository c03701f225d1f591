"""Python daemons that tell systemd the truth about themselves, under the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hosts import PYTHON, REPOSITORY, TARGETS

from notifywrap.testing.lab import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Unit

pytestmark = pytest.mark.systemd


def daemon(kind: str) -> dict[str, str]:
    command = " ".join((*PYTHON, str(TARGETS / "python_daemon.py"), kind, str(REPOSITORY)))
    return {"Type": "notify", "ExecStart": command, "WatchdogSec": "1s"}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("threads", "threads are at work"),
        pytest.param("asyncio", "the loop turns", marks=pytest.mark.slow),
    ],
)
def test_hang_that_nothing_else_shows_is_acted_on(
    unit: Callable[..., Unit], kind: str, status: str
):
    """A stuck thread, a blocked loop: the process is there, and a timer thread would ping on."""
    one = unit(**daemon(kind), Restart="on-failure", RestartSec="100ms", TimeoutAbortSec="1s")
    assert one.show("StatusText") == {"StatusText": status}
    one.kill("USR1")
    one.wait(NRestarts="1", ActiveState="active")
    assert "Watchdog timeout" in one.journal()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_daemon_that_works_is_left_alone(unit: Callable[..., Unit], kind: str):
    """For five times as long as systemd would wait, and it stops cleanly."""
    one = unit(**daemon(kind), Restart="on-failure")
    with pytest.raises(LabError, match="waited 5 s"):
        one.wait(NRestarts="1", timeout_s=5.0)
    one.stop()
    assert one.show("Result", "NRestarts") == {"Result": "success", "NRestarts": "0"}
