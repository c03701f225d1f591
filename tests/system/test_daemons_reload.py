"""HUP and `systemctl reload`: what a daemon does then, it does wrapped as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import (
    Daemon,
    apache,
    burst,
    main_pid,
    nginx,
    stays_up,
    target_pid,
    until,
    wrap,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Unit

    UnitMaker = Callable[..., Unit]

pytestmark = pytest.mark.systemd


@pytest.mark.slow
def test_nginx_takes_its_new_configuration(unit: UnitMaker, tmp_path: Path) -> None:
    """All its workers are replaced, and the sockets live on: nothing here is a reason to act."""
    daemon = nginx(tmp_path)
    one = unit(**wrap(daemon), ExecReload="/bin/kill -HUP $MAINPID")
    before = set(one.pids())
    master = target_pid(one)
    conf = tmp_path / "nginx.conf"
    conf.write_text(conf.read_text().replace(daemon.answer, "anew"))
    assert one.lab.systemctl("reload", one.name).returncode == 0
    fresh = daemon._replace(answer="anew")
    until(lambda: not burst(one, fresh, seconds=0, clients=1)["failed"])
    until(lambda: set(one.pids()) & before == {main_pid(one), master})
    assert stays_up(one, 1.5), one.journal()


def test_apache_restarts_within(unit: UnitMaker, tmp_path: Path) -> None:
    """It closes its sockets and opens them again: one missed round is not yet a hang."""
    daemon = apache(tmp_path)
    one = unit(**wrap(daemon, "--probe", daemon.probes[0]))
    one.kill("HUP", "--kill-who=main")
    log = tmp_path / "error.log"
    until(lambda: log.read_text().count("resuming normal operations") == 2)
    until(lambda: not asked(one, daemon)["failed"])
    assert stays_up(one, 1.5), one.journal()


def asked(one: Unit, daemon: Daemon) -> dict[str, int]:
    return burst(one, daemon, seconds=0.05, clients=1)
