"""units/postgresql, copied into /etc as it stands, around Debian's cluster 15/main."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import main_pid, target_pid, until
from tests.units.served import hang_and_recover, restarts
from tests.units.table import assert_as_in_readme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNIT = "postgresql@15-main.service"
SHORT = "[Service]\nWatchdogSec=6s\nTimeoutAbortSec=1s\n"  # to wait less
PARALLEL = """\
create table numbers as select generate_series(1, 200000) as n;
set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
set min_parallel_table_scan_size = 0; set jit = on; set jit_above_cost = 0;
select sum(n * 2) from numbers; drop table numbers
"""


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Machine:
    if not Path("/etc/postgresql/15/main/postgresql.conf").exists():
        pytest.skip("no cluster 15/main here: Debian 12's postgresql makes it (script/setup)")
    return machine("postgresql")


@pytest.fixture(scope="module")
def service(place: Machine) -> Iterator[Unit]:
    """PostgreSQL, started once for these tests."""
    with place.started(UNIT) as unit:
        unit.start()
        yield unit


def sql(place: Machine, text: str) -> str:
    """As the user postgres, on the AF_UNIX socket."""
    asked = ("runuser", "-u", "postgres", "--", "psql", "-XAtqc", text)
    return place.lab.run(*asked).stdout.strip()


def test_check_and_verify_find_nothing(place: Machine) -> None:
    """Units that we ship are what people will copy."""
    assert place.check(UNIT) == ""


def test_it_answers_when_systemctl_start_returns(place: Machine, service: Unit) -> None:
    """With a capability for nothing, as the user that owns its data."""
    assert sql(place, "select 6 * 7") == "42"
    pids = service.pids()
    assert len(pids) > 4
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        assert not re.search(r"^[UG]id:.*\b0\b", status, re.M)
        assert re.findall(r"^CapBnd:\s+(\w+)$", status, re.M) == ["0" * 16]
        assert "Seccomp:\t2" in status


def test_only_the_first_process_is_kept_from_the_oom_killer(place: Machine, service: Unit) -> None:
    """The others set their own score, which the jail must let them: a file in /proc.

    Where no one may go below 0, as in a lab, to see it they have to go above.
    """
    text = "[Service]\nEnvironment=PG_OOM_ADJUST_VALUE=200\n"
    with place.edited(f"systemd/system/{UNIT}.d/score.conf", text):
        assert place.lab.systemctl("restart", UNIT).returncode == 0
        first, wrapper = target_pid(service), main_pid(service)
        scores = {
            pid: int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in service.pids()
        }
    assert scores.pop(first) <= 0
    assert scores.pop(wrapper) <= 0
    assert set(scores.values()) == {200}
    assert place.lab.systemctl("restart", UNIT).returncode == 0


def test_the_sandbox_is_wide_enough_for_queries(place: Machine, service: Unit) -> None:
    """Parallel workers share memory in /dev/shm, extensions are libraries, large sorts are files.

    And jit = on, which any session may say, must not need memory that is forbidden.
    """
    assert sql(place, PARALLEL) == "40000200000"
    text = "create extension pg_trgm; select 'word' % 'words'; drop extension pg_trgm"
    assert sql(place, text) == "t"
    big = "set work_mem = '64kB'; select count(*) from (select n from generate_series(1, 300000) n"
    assert sql(place, f"{big} order by md5(n::text)) as sorted") == "300000"


def test_other_users_of_this_machine_are_known_by_name(place: Machine, service: Unit) -> None:
    """`peer` in pg_hba.conf, which PrivateUsers= would break."""
    assert sql(place, 'create role "www-data" login') == ""
    asked = ("runuser", "-u", "www-data", "--", "psql", "-XAtqc", "select current_user", "postgres")
    assert place.lab.run(*asked).stdout.strip() == "www-data"
    assert sql(place, 'drop role "www-data"') == ""


def test_a_superuser_gets_no_shell(place: Machine, service: Unit) -> None:
    """COPY FROM PROGRAM is how a stolen password becomes a process of any kind."""
    said = sql(place, "create temp table t (x text); copy t from program 'id'")
    assert "could not execute command" in said
    assert sql(place, "select 1") == "1"


def test_reload_takes_new_settings(place: Machine, service: Unit) -> None:
    """`systemctl reload postgresql` reaches it, too: Debian's unit for all clusters."""
    conf = "postgresql/15/main/conf.d/test.conf"
    with restarts(service, 0), place.edited(conf, "work_mem = '7MB'\n"):
        assert place.lab.systemctl("reload", UNIT).returncode == 0, service.journal()
        until(lambda: sql(place, "show work_mem") == "7MB")
    assert place.lab.systemctl("reload", UNIT).returncode == 0


def test_debians_tools_work_with_it(place: Machine, service: Unit) -> None:
    """It stands in for their unit under the same name."""
    before = service.show("MainPID")
    done = place.lab.run("pg_ctlcluster", "15", "main", "restart")
    assert done.returncode == 0, done.stdout
    assert service.show("MainPID") != before
    assert "online" in place.lab.run("pg_lsclusters", "-h").stdout


def test_a_crash_of_a_session_is_its_own_business(place: Machine, service: Unit) -> None:
    """It ends the others, recovers, and goes on; systemd has nothing to do."""
    with restarts(service, 0):
        said = sql(place, "select pg_backend_pid()")
        assert said.isdigit()
        client = place.lab.popen("runuser", "-u", "postgres", "--", "psql", "-Xc",
                                 "select pg_sleep(60)", stdout=-3, stderr=-3)  # fmt: skip
        find = "select pid from pg_stat_activity where query = 'select pg_sleep(60)'"
        until(lambda: sql(place, find).isdigit(), 10.0)
        place.lab.run("kill", "-KILL", sql(place, find), check=True)
        client.wait(20)
        until(lambda: sql(place, "select 1") == "1", 20.0)


def test_a_hang_is_acted_on(place: Machine, service: Unit) -> None:
    """The promise of WatchdogSec=, in the whole sandbox."""
    assert service.show("WatchdogUSec") == {"WatchdogUSec": "30s"}
    with place.edited(f"systemd/system/{UNIT}.d/short.conf", SHORT):
        assert place.lab.systemctl("restart", UNIT).returncode == 0
        hang_and_recover(service, watchdog_s=6.0, abort_s=1.0)
        assert sql(place, "select 1") == "1"


def test_stopping_ends_the_sessions_in_order(place: Machine, service: Unit) -> None:
    """TERM would wait for a client that never goes."""
    client = place.lab.popen("runuser", "-u", "postgres", "--", "psql", "-Xc",
                             "select pg_sleep(60)", stdout=-3, stderr=-3)  # fmt: skip
    find = "select pid from pg_stat_activity where query = 'select pg_sleep(60)'"
    until(lambda: sql(place, find).isdigit(), 10.0)
    service.stop(timeout_s=30.0)
    assert client.wait(20) != 0
    assert service.show("Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}
    assert "database system is shut down" in service.journal()
    service.start()


def test_what_an_intruder_could_do(place: Machine, service: Unit) -> None:
    """The numbers of the README's table."""
    left = {"read /etc/passwd", "fork a process", "start a thread", "socket AF_INET"}
    left |= {"socket AF_UNIX", "fake READY to notify socket"}
    assert_as_in_readme(place, UNIT, "postgresql", left)
