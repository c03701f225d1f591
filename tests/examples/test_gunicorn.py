"""examples/gunicorn under its own unit file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from notifywrap.testing.lab import LabError
from tests.conftest import REPOSITORY
from tests.examples.gunicorns import (
    ANSWER,
    KINDS,
    PORT,
    SERVING,
    WORKERS,
    answering_worker,
    ask,
    count_first_answers,
    install,
    load,
    poll,
    rewrite,
    status_of,
    wait_status,
)
from tests.examples.web import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit

    Serve = Callable[..., Unit]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

HERE = REPOSITORY / "examples/gunicorn"
HANG = "__import__('os').path.exists('trouble') and __import__('threading').Event().wait()"
DIE = "__import__('os').path.exists('trouble') and os.kill(os.getpid(), 9)"
APP, CONF = "opt/gunicorn/app.py", "opt/gunicorn/gunicorn.conf.py"  # in the lab


@pytest.fixture
def serve(lab: Lab, example: Serve) -> Serve:
    """Runs it with options of gunicorn's and settings of the unit; /hang hangs."""

    def run(*options: str, start: bool = True, **settings: str) -> Unit:
        one = install(lab, example, "gunicorn", *options, **settings)
        if start:
            one.start()
        return one

    return run


@pytest.mark.systemd
def test_request_is_answered_right_after_the_start(lab: Lab, serve: Serve):
    """20 of 20: whoever is ordered after this unit relies on it."""
    assert count_first_answers(lab, serve(start=False), 20) == 20


@pytest.mark.systemd
@pytest.mark.parametrize("kind", KINDS)
def test_start_takes_until_every_worker_serves(lab: Lab, serve: Serve, kind: str):
    """gunicorn's own READY=1 comes before the first worker has loaded the application."""
    one = serve(*KINDS[kind], start=False)
    rewrite(lab.root / APP, "# For the demo", "import time\n\ntime.sleep(1.5)\n\n# For the demo")
    began = time.monotonic()
    one.start()
    assert time.monotonic() - began > 1.5
    assert status_of(one) == SERVING
    assert len(one.pids()) == 1 + WORKERS


@pytest.mark.systemd
def test_application_that_cannot_be_loaded_fails_the_start(lab: Lab, serve: Serve):
    """With gunicorn's own READY=1 `systemctl start` would have succeeded by then."""
    one = serve(start=False, Restart="no")
    (lab.root / APP).write_text("import no_such_module\n")
    assert one.start(check=False).returncode != 0
    assert "no_such_module" in one.journal()


@pytest.mark.systemd
def test_stuck_pool_of_one_worker_is_named_and_the_unit_restarted(lab: Lab, serve: Serve):
    """One of three, and gthread: its loop turns on, and gunicorn does not see it."""
    one = serve("--threads=1", "--timeout=3", WatchdogSec="6s")
    stuck = Request(lab, PORT, "/hang")
    status = wait_status(one, "unhealthy")
    assert re.fullmatch(r"unhealthy: worker \d \(process \d+\) silent for \d\.\d s", status)
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30)
    stuck.close()
    assert "Watchdog timeout" in one.journal()
    assert "WORKER TIMEOUT" not in one.journal()
    assert answering_worker(lab)


@pytest.mark.systemd
def test_threads_that_are_free_keep_a_worker_going(lab: Lab, serve: Serve):
    """One stuck thread of several: a restart would hurt those who are served."""
    one = serve("--workers=1", "--threads=2", "--timeout=2", WatchdogSec="2s")
    stuck = Request(lab, PORT, "/hang")
    assert load(lab, 10)["failed"] == 0
    assert one.show("NRestarts") == {"NRestarts": "0"}
    stuck.close()


@pytest.mark.systemd
def test_worker_that_is_behind_with_its_work_is_not_stuck(lab: Lab, serve: Serve):
    """A restart would make it worse. What is asked of its pool waits as long as any request does,
    here for longer than --timeout and WatchdogSec= together."""
    one = serve("--workers=1", "--threads=1", "--timeout=3", start=False, WatchdogSec="4s")
    rewrite(lab.root / APP, "    start_resp", "    __import__('time').sleep(0.5)\n    start_resp")
    one.start()
    requests = [Request(lab, PORT, limit_s=60) for _ in range(24)]
    assert [request.reply().status for request in requests] == [200] * 24
    assert one.show("NRestarts") == {"NRestarts": "0"}


@pytest.mark.systemd
def test_stuck_sync_worker_is_replaced_by_gunicorn_alone(lab: Lab, serve: Serve):
    """The milder remedy comes first, its --timeout, and the others serve on."""
    one = serve(*KINDS["sync"], "--timeout=4", WatchdogSec="8s")
    before = one.show("MainPID")
    stuck = Request(lab, PORT, "/hang", limit_s=60)
    poll(lambda: "WORKER TIMEOUT" in one.journal(), "gunicorn to see it", one.journal)
    stuck.close()
    assert load(lab, 16)["failed"] == 0
    assert one.show("MainPID", "NRestarts") == before | {"NRestarts": "0"}


@pytest.mark.systemd
@pytest.mark.parametrize("kind", KINDS)
def test_killed_worker_is_replaced_by_gunicorn_alone(lab: Lab, serve: Serve, kind: str):
    """By the kernel that is out of memory, say."""
    one = serve(*KINDS[kind], "--timeout=5", WatchdogSec="4s")
    before = one.show("MainPID")
    killed = answering_worker(lab)
    old = set(one.pids())
    lab.run("kill", "-KILL", killed, check=True)
    poll(
        lambda: len(old & (new := set(one.pids()))) < len(old) <= len(new),
        "a new worker",
        one.journal,
    )
    with pytest.raises(LabError, match="waited 12 s"):
        one.wait(NRestarts="1", timeout_s=12)
    assert answering_worker(lab) != killed
    assert one.show("MainPID") == before
    assert status_of(one) in (SERVING, "healthy again")


@pytest.mark.systemd
@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (HANG, r"unhealthy: starting worker \d+ \(process \d+\) silent"),
        (DIE, "unhealthy: .*(has ended|only 2 of 3 workers serve)"),
        (f"def pre_fork(server, worker): {HANG}", "unhealthy: .*only 2 of 3 workers serve"),
    ],
    ids=["hangs", "dies", "is not forked"],
)
def test_worker_that_does_not_come_up_is_acted_on(
    lab: Lab, serve: Serve, trouble: str, status: str
):
    """gunicorn waits for ever for one that hangs, and forks one that dies again and again. Or it is
    stuck itself."""
    one = serve("--timeout=5", start=False, WatchdogSec="4s")
    flag = lab.root / "opt/gunicorn/trouble"
    rewrite(
        lab.root / CONF, "wsgi_app", "import notifywrap.gunicorn as its\nits.BOOT_S = 3\nwsgi_app"
    )
    if trouble.startswith("def"):
        with (lab.root / CONF).open("a") as conf:
            conf.write(trouble)
    else:
        with (lab.root / APP).open("a") as app:
            app.write(trouble)
    one.start()
    flag.touch()
    lab.run("kill", "-KILL", answering_worker(lab), check=True)
    wait_status(one, status)
    poll(lambda: "Watchdog timeout" in one.journal(), "systemd to act", one.journal)
    flag.unlink()
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30)


@pytest.mark.systemd
@pytest.mark.parametrize("kind", KINDS)
def test_idle_service_is_left_alone(serve: Serve, kind: str):
    """For five times as long as systemd would wait. A sync worker turns every timeout/2."""
    one = serve(*KINDS[kind], "--timeout=4", WatchdogSec="2s")
    with pytest.raises(LabError, match="waited 10 s"):
        one.wait(NRestarts="1", timeout_s=10)
    assert status_of(one) == SERVING
    one.stop()
    assert one.show("Result", "NRestarts") == {"Result": "success", "NRestarts": "0"}


@pytest.mark.systemd
@pytest.mark.parametrize("kind", KINDS)
def test_busy_service_is_left_alone(lab: Lab, serve: Serve, kind: str):
    """For five times as long as systemd would wait, with more clients than threads."""
    one = serve(*KINDS[kind], "--threads=1", "--timeout=4", WatchdogSec="2s")
    counts = load(lab, 10)
    assert counts["failed"] == 0
    assert counts["answered"] > 100
    assert one.show("NRestarts") == {"NRestarts": "0"}
    assert status_of(one) == SERVING


@pytest.mark.systemd
@pytest.mark.parametrize("kind", KINDS)
def test_reload_returns_when_new_workers_serve(lab: Lab, serve: Serve, kind: str):
    """`systemctl reload && curl` finds the new code, and nobody misses the old workers."""
    one = serve(*KINDS[kind], "--timeout=4", WatchdogSec="2s")
    before = one.show("MainPID")
    for turn in range(5):
        rewrite(lab.root / APP, f"{ANSWER}", f"{ANSWER}, take {turn}")
        lab.systemctl("reload", one.name, check=True)
        assert f"take {turn}" in ask(lab, PORT).text
        assert one.show("ActiveState") == {"ActiveState": "active"}
        assert status_of(one) == SERVING
    with pytest.raises(LabError, match="waited 6 s"):
        one.wait(NRestarts="1", timeout_s=6)
    assert one.show("MainPID") == before
    assert status_of(one) == SERVING


@pytest.mark.systemd
def test_reload_with_a_broken_configuration_leaves_all_as_it_was(lab: Lab, serve: Serve):
    """gunicorn itself ends at a SIGHUP then."""
    one = serve()
    before = one.show("MainPID")
    rewrite(lab.root / CONF, "workers = 3", "workers = -3")
    assert lab.systemctl("reload", one.name).returncode != 0
    assert one.show("MainPID", "ActiveState") == before | {"ActiveState": "active"}
    assert answering_worker(lab)


@pytest.mark.systemd
def test_request_that_outlasts_a_reload_restarts_nothing(lab: Lab, serve: Serve):
    """An old worker that hangs is gunicorn's to end: it is forgotten here."""
    one = serve("--threads=1", "--timeout=4", "--graceful-timeout=12", WatchdogSec="2s")
    stuck = Request(lab, PORT, "/hang", limit_s=60)
    lab.systemctl("reload", one.name, check=True)
    with pytest.raises(LabError, match="waited 10 s"):
        one.wait(NRestarts="1", timeout_s=10)
    stuck.close()
    assert status_of(one) == SERVING


@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_without_systemd(kind: str):
    """In a terminal, a container or under another supervisor: nothing is told, nothing fails."""
    env = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
    command = [f"{sys.prefix}/bin/gunicorn", *KINDS[kind], "--bind=127.0.0.1:0"]
    process = subprocess.Popen(command, cwd=HERE, env=env, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        log = iter(process.stderr.readline, "")
        url = next(found[1] for line in log if (found := re.search(r"at: (http\S+) ", line)))
        for _ in range(2):
            with urllib.request.urlopen(url, timeout=30) as reply:
                assert ANSWER in reply.read().decode()
            process.send_signal(signal.SIGHUP)
            assert any("Hang up" in line for line in log)
        process.terminate()
        rest = "".join(log)
        assert process.wait(60) == 0
        assert "Traceback" not in rest
        assert "rror" not in rest
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
