"""`--pidfile` under the real systemd: daemons that fork or re-execute themselves, for real."""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import (
    Daemon,
    burst,
    http,
    http_get,
    main_pid,
    nginx,
    program,
    stays_up,
    until,
    wrap,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Unit

    UnitMaker = Callable[..., Unit]

pytestmark = pytest.mark.systemd

GUNICORN = 8191


def nginx_daemon(home: Path) -> Daemon:
    """As distributions run it: the process that is started forks, and ends."""
    daemon = nginx(home)
    conf = home / "nginx.conf"
    conf.write_text(conf.read_text().replace("daemon off;", "daemon on;"))
    return daemon


def gunicorn(home: Path, *options: str) -> Daemon:
    (home / "app.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '6')])\n"
        "    return [b'served']\n"
    )
    words = (
        program("gunicorn"), "--pid", f"{home}/main.pid", "--chdir", str(home), "--workers", "2",
        "--bind", f"127.0.0.1:{GUNICORN}", "--no-control-socket", *options, "app:app",
    )  # fmt: skip
    return Daemon(shlex.join(words), GUNICORN, http_get(), "served", http(GUNICORN))


def start(unit: UnitMaker, daemon: Daemon, pidfile: Path, **more: str) -> Unit:
    options = ("--pidfile", str(pidfile), "--probe", daemon.probes[0])
    return unit(**{**wrap(daemon, *options), **more})


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Load:
    """Clients that ask again and again from the beginning of the block to its end."""

    def __init__(self, one: Unit, daemon: Daemon, seconds: float) -> None:
        self.count: dict[str, int] = {}
        self._thread = threading.Thread(
            target=lambda: self.count.update(burst(one, daemon, seconds, clients=3))
        )

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()


@pytest.mark.slow
def test_nginx_in_daemon_mode(unit: UnitMaker, tmp_path: Path) -> None:
    """Ready, pinged for, and stopped, as if it had stayed in the foreground."""
    daemon = nginx_daemon(tmp_path)
    one = start(unit, daemon, tmp_path / "nginx.pid")
    wrapper = main_pid(one)
    until(lambda: len(children(wrapper)) == 1)
    (master,) = children(wrapper)
    assert len(children(master)) == 2
    assert burst(one, daemon, seconds=0.1, clients=2)["failed"] == 0
    assert stays_up(one, 1.3), one.journal()
    one.stop()
    assert one.pids() == []
    assert "Stopped" in one.journal()
    assert "Failed" not in one.journal()


@pytest.mark.slow
def test_nginx_is_upgraded_while_it_serves(unit: UnitMaker, tmp_path: Path) -> None:
    """USR2 starts the new binary beside the old one, QUIT ends the old one: no request fails, and
    systemd sees one service all the time. Twice, as the new one is then the target like the first.

    With `daemon off` nginx ignores USR2: it takes the parent that is still there for an old binary.
    """
    daemon, pidfile = nginx_daemon(tmp_path), tmp_path / "nginx.pid"
    one = start(unit, daemon, pidfile)
    wrapper = main_pid(one)
    with Load(one, daemon, seconds=5.0) as load:
        upgrade_nginx(one, wrapper, pidfile)
        upgrade_nginx(one, wrapper, pidfile)
        assert stays_up(one, 1.3), one.journal()
    print(load.count)
    assert load.count["failed"] == 0, load.count
    assert load.count["answered"] > 100
    assert main_pid(one) == wrapper
    one.stop()
    assert one.pids() == []
    assert "Failed" not in one.journal()


@pytest.mark.slow
def test_the_new_master_is_the_target(unit: UnitMaker, tmp_path: Path) -> None:
    """Killed, its end is mirrored at once although its workers live on, and systemd restarts."""
    daemon, pidfile = nginx_daemon(tmp_path), tmp_path / "nginx.pid"
    one = start(unit, daemon, pidfile)
    new = upgrade_nginx(one, main_pid(one), pidfile)
    began = time.monotonic()
    os.kill(new, signal.SIGKILL)
    one.wait(NRestarts="1", ActiveState="active")
    assert time.monotonic() - began < 3.0
    assert "Main process exited, code=killed, status=9/KILL" in one.journal()
    until(lambda: not burst(one, daemon, seconds=0.05, clients=1)["failed"])


def upgrade_nginx(one: Unit, wrapper: int, pidfile: Path) -> int:
    """As its documentation says, through the wrapper; returns the new master's pid."""
    until(lambda: len(children(wrapper)) == 1)
    (old,) = children(wrapper)
    first = pidfile.read_text()
    one.kill("USR2", "--kill-who=main")
    until(lambda: written_in(pidfile) not in ("", first))
    until(lambda: len(one.pids()) == 7)  # the wrapper, and two masters with two workers each
    (new,) = {pid for pid in children(old) if children(pid)}
    one.kill("QUIT", "--kill-who=main")
    until(lambda: children(wrapper) == [new])
    until(lambda: f"following process {written_in(pidfile).strip()}," in one.journal())
    return new


def written_in(pidfile: Path) -> str:
    """Empty as well while nginx has renamed the old one, and the new one is not there yet."""
    try:
        return pidfile.read_text()
    except FileNotFoundError:
        return ""


@pytest.mark.slow
def test_an_upgrade_that_is_broken_off_changes_nothing(unit: UnitMaker, tmp_path: Path) -> None:
    """The new binary turns out to be bad, and is told to go: the old one goes on."""
    daemon, pidfile = nginx_daemon(tmp_path), tmp_path / "nginx.pid"
    one = start(unit, daemon, pidfile)
    wrapper = main_pid(one)
    until(lambda: len(children(wrapper)) == 1)
    (old,) = children(wrapper)
    before, first = sorted(one.pids()), pidfile.read_text()
    one.kill("USR2", "--kill-who=main")
    until(lambda: written_in(pidfile) not in ("", first))
    until(lambda: len(one.pids()) == 7)
    (new,) = {pid for pid in children(old) if children(pid)}
    os.kill(new, signal.SIGQUIT)
    until(lambda: sorted(one.pids()) == before)
    assert pidfile.read_text() == first
    assert stays_up(one, 1.3), one.journal()


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--daemon",)], ids=["foreground", "daemon"])
def test_gunicorn_is_upgraded_while_it_serves(
    unit: UnitMaker, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Its new master takes the pid file over only when it has seen the old one's end, once a
    second: until then nobody is followed, and the service is well all the same."""
    daemon, pidfile = gunicorn(tmp_path, *options), tmp_path / "main.pid"
    one = start(unit, daemon, pidfile, WatchdogSec="5s")
    wrapper = main_pid(one)
    until(lambda: len(children(wrapper)) == 1)
    (old,) = children(wrapper)
    with Load(one, daemon, seconds=5.0) as load:
        one.kill("USR2", "--kill-who=main")
        until((tmp_path / "main.pid.2").exists)
        until(lambda: [pid for pid in children(old) if len(children(pid)) == 2])
        (new,) = {pid for pid in children(old) if children(pid)}
        os.kill(old, signal.SIGTERM)  # behind the wrapper's back: to that it would mean stop
        until(lambda: children(wrapper) == [new])
        until(lambda: "following process" in one.journal().rpartition("waiting for")[2])
        assert stays_up(one, 1.3), one.journal()
    assert load.count["failed"] == 0, load.count
    print(f"{options}: {load.count}")
    assert main_pid(one) == wrapper
    one.stop()
    assert one.pids() == []
