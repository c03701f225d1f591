"""units/redis, copied into /etc as it stands, around Debian's redis-server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import program, until
from tests.units.served import hang_and_recover, restarts
from tests.units.table import assert_as_in_readme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNIT = "redis-server.service"
SHORT = "[Service]\nWatchdogSec=6s\nTimeoutAbortSec=1s\n"  # to wait less
KEYS = 500_000


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Machine:
    program("redis-server")
    return machine("redis")


@pytest.fixture(scope="module")
def service(place: Machine) -> Iterator[Unit]:
    """Redis, started once for these tests."""
    with place.started(UNIT) as unit:
        unit.start()
        yield unit


def redis(place: Machine, *words: str) -> str:
    return place.lab.run("redis-cli", *words).stdout.strip()


def test_check_and_verify_find_nothing(place: Machine) -> None:
    """Units that we ship are what people will copy."""
    assert place.check(UNIT) == ""


def test_it_answers_when_systemctl_start_returns(place: Machine, service: Unit) -> None:
    """With a capability for nothing, as the user that owns its data."""
    assert redis(place, "ping") == "PONG"
    for pid in service.pids():
        status = Path(f"/proc/{pid}/status").read_text()
        assert not re.search(r"^[UG]id:.*\b0\b", status, re.M)
        assert re.findall(r"^CapBnd:\s+(\w+)$", status, re.M) == ["0" * 16]
        assert "Seccomp:\t2" in status


def test_it_saves_in_a_child_and_serves_it_after_a_restart(place: Machine, service: Unit) -> None:
    """No nofork: a Redis that cannot fork refuses writes after the first failed save.

    Redis accepts connections and answers LOADING before its data is there.
    """
    script = f"for i = 1, {KEYS} do redis.call('set', 'key:' .. i, i) end return 1"
    assert redis(place, "eval", script, "0") == "1"
    assert redis(place, "bgsave") == "Background saving started"
    until(lambda: "rdb_bgsave_in_progress:0" in redis(place, "info", "persistence"), 20.0)
    assert "rdb_last_bgsave_status:ok" in redis(place, "info", "persistence")
    done = place.lab.run("sh", "-c", f"systemctl restart {UNIT} && redis-cli dbsize")
    assert done.stdout.strip() == str(KEYS)
    assert (place.root / "var/lib/redis/dump.rdb").exists()
    assert redis(place, "flushall") == "OK"


def test_a_password_does_not_keep_it_from_starting(place: Machine, service: Unit) -> None:
    """PING is answered with NOAUTH then, which is an answer; and nobody told the probe."""
    conf = (place.root / "etc/redis/redis.conf").read_text()
    with place.edited("redis/redis.conf", f"{conf}\nrequirepass secret\n"):
        assert place.lab.systemctl("restart", UNIT).returncode == 0, service.journal()
        assert redis(place, "ping").startswith("NOAUTH")
    assert place.lab.systemctl("restart", UNIT).returncode == 0


def test_it_cannot_change_its_own_settings_or_run_what_it_writes(
    place: Machine, service: Unit
) -> None:
    """CONFIG SET dir is how a Redis that is open to others is taken over."""
    conf = (place.root / "etc/redis/redis.conf").read_text()
    with place.edited("redis/redis.conf", f"{conf}\nenable-protected-configs yes\n"):
        assert place.lab.systemctl("restart", UNIT).returncode == 0, service.journal()
    with restarts(service, 0):
        for directory in ("/etc/redis", "/tmp", "/var/tmp", "/dev/shm"):
            redis(place, "config", "set", "dir", directory)
            assert "ERR" in redis(place, "save"), directory
        assert redis(place, "config", "set", "dir", "/run/redis") == "OK"
        assert redis(place, "save") == "OK", "the control: it may write there"
        assert redis(place, "config", "set", "dir", "/var/lib/redis") == "OK"
    assert "ERR" in redis(place, "config", "rewrite")
    assert place.lab.systemctl("restart", UNIT).returncode == 0


def test_a_hang_is_acted_on(place: Machine, service: Unit) -> None:
    """The promise of WatchdogSec=, in the whole sandbox."""
    assert service.show("WatchdogUSec") == {"WatchdogUSec": "20s"}
    with place.edited(f"systemd/system/{UNIT}.d/short.conf", SHORT):
        assert place.lab.systemctl("restart", UNIT).returncode == 0, service.journal()
        hang_and_recover(service, watchdog_s=6.0, abort_s=1.0)
        assert redis(place, "ping") == "PONG"


def test_stopping_saves(place: Machine, service: Unit) -> None:
    """TERM once, and time to write."""
    assert redis(place, "set", "last", "words") == "OK"
    service.stop()
    assert service.show("Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}
    assert "DB saved on disk" in service.journal()
    service.start()
    assert redis(place, "get", "last") == "words"


def test_what_an_intruder_could_do(place: Machine, service: Unit) -> None:
    """The numbers of the README's table."""
    left = {"write state dir", "write acme.json", "fork a process", "start a thread"}
    left |= {"socket AF_INET", "socket AF_UNIX", "fake READY to notify socket"}
    assert_as_in_readme(place, UNIT, "redis", left)
