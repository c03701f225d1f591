"""HUP and `systemctl reload`: what a daemon does then, it does wrapped as well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import (
    BIN,
    CLIENT,
    Daemon,
    apache,
    burst,
    main_pid,
    nginx,
    stays_up,
    target_pid,
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

BURN = [sys.executable, "-I", "-S", "-c", "while True: pass"]


@pytest.mark.slow
@pytest.mark.parametrize("is_busy", [False, True])
def test_nginx_serves_its_new_configuration_when_the_reload_is_over(
    unit: UnitMaker, tmp_path: Path, is_busy: bool
) -> None:
    """Its old workers answer until the master has told them, a moment after it has taken HUP."""
    daemon = nginx(tmp_path)
    service = wrap(daemon, "--preset", "none", "--probe", daemon.probes[0])
    one = unit(**service, ExecReload=f"{BIN}/notifywrap reload $MAINPID")
    words = (one.name, "40", str(daemon.port), daemon.request, daemon.answer)
    burners = [subprocess.Popen(BURN) for _ in range(2 * (os.cpu_count() or 1) * is_busy)]
    try:
        done = one.lab.run(
            "/usr/bin/python3", "-I", CLIENT, "renew", *words, tmp_path / "nginx.conf", check=True
        )
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert json.loads(done.stdout) == {"done": 40, "fresh": 40}, one.journal()


@pytest.mark.slow
def test_traefik_opens_its_log_files_anew(unit: UnitMaker, tmp_path: Path) -> None:
    """All that it has for a signal is USR1, for logrotate; its preset knows. Its configuration it
    watches by itself."""
    daemon = traefik(tmp_path)
    one = unit(**wrap(daemon), ExecReload=f"{BIN}/notifywrap reload $MAINPID")
    log = tmp_path / "access.log"
    burst(one, daemon, seconds=0, clients=1)
    until(log.exists)
    log.rename(tmp_path / "access.log.1")
    done = one.lab.systemctl("reload", one.name)
    assert done.returncode == 0, one.journal()
    assert not burst(one, daemon, seconds=0, clients=1)["failed"]
    until(log.exists)
    assert stays_up(one, 1.5), one.journal()


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


@pytest.mark.slow
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
