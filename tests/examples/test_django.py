"""examples/django under its own unit file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

from notifywrap.testing.lab import LabError
from tests.conftest import REPOSITORY
from tests.examples.gunicorns import (
    PORT,
    SERVING,
    answering_worker,
    ask,
    count_first_answers,
    install,
    load,
    rewrite,
    status_of,
    wait_status,
)
from tests.examples.web import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit

    Serve = Callable[..., Unit]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

HERE = REPOSITORY / "examples/django"
MIGRATE = ("migrate", "--settings=settings", "--pythonpath=.")
COUNTED = r"worker \d+ is at your service, with 1 content type\(s\)\n"


def migrate(lab: Lab) -> None:
    """As the unit's first lines say it."""
    where = ("env", "-C", "/opt/django", "STATE_DIRECTORY=/var/lib/django")
    lab.run(
        "runuser", "-u", "www-data", "--", *where, "venv/bin/django-admin", *MIGRATE, check=True
    )


@pytest.fixture
def serve(lab: Lab, example: Serve) -> Serve:
    """Runs it with options of gunicorn's and settings of the unit, on a database that is there
    unless migrated=False; /hang hangs."""

    def run(*options: str, migrated: bool = True, start: bool = True, **settings: str) -> Unit:
        one = install(lab, example, "django", *options, **settings)
        if migrated:
            lab.run("install", "-d", "-o", "www-data", "/var/lib/django", check=True)
            migrate(lab)
        if start:
            one.start()
        return one

    return run


@pytest.mark.systemd
def test_request_is_answered_from_the_database_right_after_the_start(lab: Lab, serve: Serve):
    """10 of 10: an error page would not have the words."""
    assert count_first_answers(lab, serve(start=False), 10) == 10


@pytest.mark.systemd
def test_start_fails_without_the_migrations_and_says_which(lab: Lab, serve: Serve):
    """Ready would be a lie: every page would be an error. Then the unit's first lines help."""
    one = serve(migrated=False, start=False, Restart="no")
    assert one.start(check=False).returncode != 0
    assert "contenttypes.0001_initial" in one.journal()
    migrate(lab)
    one.start()
    assert status_of(one) == SERVING
    assert re.fullmatch(COUNTED, ask(lab, PORT).text)


@pytest.mark.systemd
def test_database_that_comes_up_later_is_waited_for(lab: Lab, serve: Serve):
    """At boot nobody is there to start it again."""
    one = serve(migrated=False, start=False, RestartSec="100ms")
    assert one.start(check=False).returncode != 0
    migrate(lab)
    one.wait(ActiveState="active", StatusText=SERVING, timeout_s=30)
    assert re.fullmatch(COUNTED, ask(lab, PORT).text)


@pytest.mark.systemd
def test_stuck_worker_is_named_and_the_unit_restarted(lab: Lab, serve: Serve):
    """One of three whose threads are all stuck, under Django as under plain WSGI."""
    one = serve("--threads=1", "--timeout=3", WatchdogSec="6s", RestartSec="100ms")
    stuck = Request(lab, PORT, "/hang")
    status = wait_status(one, "unhealthy")
    assert re.fullmatch(r"unhealthy: worker \d \(process \d+\) silent for \d\.\d s", status)
    one.wait(NRestarts="1", ActiveState="active", timeout_s=30)
    stuck.close()
    assert "Watchdog timeout" in one.journal()
    assert answering_worker(lab)


@pytest.mark.systemd
def test_service_that_works_is_left_alone(lab: Lab, serve: Serve):
    """For five times as long as systemd would wait, under load and then idle."""
    one = serve("--timeout=4", WatchdogSec="2s")
    counts = load(lab, 10)
    assert counts["failed"] == 0
    assert counts["answered"] > 100
    with pytest.raises(LabError, match="waited 10 s"):
        one.wait(NRestarts="1", timeout_s=10)
    assert status_of(one) in (SERVING, "healthy again")  # a busy machine may have made one late
    one.stop()
    assert one.show("Result", "NRestarts") == {"Result": "success", "NRestarts": "0"}


@pytest.mark.systemd
def test_reload_returns_when_new_workers_serve(lab: Lab, serve: Serve):
    """`systemctl reload && curl` finds the new code; one whose migrations are missing, or that
    cannot be loaded, leaves all as it was."""
    one = serve()
    before = one.show("MainPID")
    urls = lab.root / "opt/django/urls.py"
    rewrite(urls, "content type(s)", "kinds of content")
    lab.systemctl("reload", one.name, check=True)
    assert "kinds of content" in ask(lab, PORT).text
    rewrite(urls, "kinds of content", "pages")
    rewrite(lab.root / "opt/django/settings.py", '"]  # for', '", "django.contrib.auth"]  # for')
    assert lab.systemctl("reload", one.name).returncode != 0
    assert "auth.0001_initial" in one.journal()
    # By each worker, also one that is asked for the first time: it had loaded its pages.
    assert all("kinds of content" in ask(lab, PORT).text for _ in range(20))
    assert one.show("MainPID", "ActiveState") == before | {"ActiveState": "active"}
    assert status_of(one) == SERVING


def test_it_runs_without_systemd(tmp_path: Path):
    """On a developer's machine: the database lies beside the code, or where one says."""
    env = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
    env["STATE_DIRECTORY"] = str(tmp_path)
    programs = f"{sys.prefix}/bin"
    subprocess.run([f"{programs}/django-admin", *MIGRATE], cwd=HERE, env=env, check=True)
    command = [f"{programs}/gunicorn", "--bind=127.0.0.1:0"]
    process = subprocess.Popen(command, cwd=HERE, env=env, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        log = iter(process.stderr.readline, "")
        url = next(found[1] for line in log if (found := re.search(r"at: (http\S+) ", line)))
        with urllib.request.urlopen(url, timeout=30) as reply:
            assert re.fullmatch(COUNTED, reply.read().decode())
        process.terminate()
        rest = "".join(log)
        assert process.wait(60) == 0
        assert "Traceback" not in rest
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
