"""Real daemons that speak sd_notify themselves: their word counts beside the probes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import (
    REDIS,
    Daemon,
    first_replies,
    program,
    redis,
    stays_up,
    traefik,
    until,
    wrap,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Unit

    UnitMaker = Callable[..., Unit]

pytestmark = pytest.mark.systemd

WATCHDOG_S = 1.0


def status_of(unit: Unit) -> str:
    return unit.show("StatusText")["StatusText"]


@pytest.fixture
def pinging(tmp_path: Path) -> Daemon:
    """Traefik as its manual sets it up for WatchdogSec=: it asks its own /ping, and then pings."""
    daemon = traefik(tmp_path)
    file = tmp_path / "traefik.yml"
    text = file.read_text()
    assert "manualRouting: true" in text
    file.write_text(text.replace("manualRouting: true", "entryPoint: web"))
    return daemon


@pytest.mark.slow
def test_traefiks_own_word_counts_beside_the_route(unit: UnitMaker, pinging: Daemon) -> None:
    """It says READY=1 before its routes serve, and knows of faults that no route shows."""
    options = ("--probe", pinging.probes[0], "--target-notify", "require")
    one = unit(**wrap(pinging, *options), start=False)
    (reply,) = first_replies(one, pinging, 1)
    assert pinging.answer in reply
    one.start()
    own = rf"ready after 0\.\d+ s, watching {pinging.probes[0]} and its own pings"
    assert re.match(own, status_of(one)), status_of(one)
    assert stays_up(one, 3 * WATCHDOG_S), one.journal()


@pytest.mark.slow
def test_traefiks_pings_are_noticed_without_any_option(unit: UnitMaker, pinging: Daemon) -> None:
    """From its first ping on they are needed."""
    one = unit(**wrap(pinging))
    until(lambda: "and its own pings" in status_of(one))
    assert stays_up(one, 3 * WATCHDOG_S), one.journal()


def test_a_traefik_that_does_not_ping_is_restarted_though_its_route_serves(
    unit: UnitMaker, tmp_path: Path
) -> None:
    """The control. It pings only when it can ask its own /ping, and here there is none to ask."""
    daemon = traefik(tmp_path)
    options = ("--probe", daemon.probes[0], "--target-notify", "require")
    one = unit(**wrap(daemon, *options))
    one.wait(NRestarts="1")
    assert "Failed with result 'watchdog'" in one.journal()
    assert "has not pinged for" in one.journal()


@pytest.mark.slow
def test_redis_says_how_it_is(unit: UnitMaker, tmp_path: Path) -> None:
    """`supervised systemd`: it is ready when it says so, and its STATUS is for `systemctl status`.

    It never pings, so the probes alone count for that.
    """
    daemon = redis(tmp_path)
    daemon = daemon._replace(command=f"{daemon.command} --supervised systemd")
    options = ("--ready", "notify", "--live", daemon.probes[0])
    one = unit(**wrap(daemon, *options))
    until(lambda: "the target says: Ready to accept connections" in status_of(one))
    assert stays_up(one, 2 * WATCHDOG_S), one.journal()
    one.lab.run(program("redis-cli"), "-p", str(REDIS), "shutdown", "nosave", check=False)
    one.wait(NRestarts="1")  # Restart=always
    one.wait(ActiveState="active")
    assert "Failed with result" not in one.journal()
