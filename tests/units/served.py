"""What the tests of single units share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.system.daemons import hang

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Unit

__all__ = ["hang_and_recover", "restarts"]


SLACK_S = 5.0  # for RestartSec= and a busy machine


def hang_and_recover(unit: Unit, *, watchdog_s: float, abort_s: float) -> None:
    """Hang all but the wrapper; systemd has to start it anew, for that reason and in time.

    Twice the watchdog's time, for where this machine was starved a round may be undecided once;
    then what a hung one may take to be ended.
    """
    within_s = 2 * watchdog_s + abort_s + SLACK_S
    before = int(unit.show("NRestarts")["NRestarts"])
    hang(unit)
    unit.wait(NRestarts=str(before + 1), timeout_s=within_s)
    unit.wait(ActiveState="active")
    assert "Failed with result 'watchdog'" in unit.journal()


@contextlib.contextmanager
def restarts(unit: Unit, times: int) -> Iterator[None]:
    """What is done within makes systemd restart it so often."""
    before = int(unit.show("NRestarts")["NRestarts"])
    yield
    assert int(unit.show("NRestarts")["NRestarts"]) - before == times, unit.journal()
