"""The pytest plugin, as other projects have it: in runs of pytest of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

OWN_PROCESS = """
import notifywrap, os, pytest, signal, sys

def test_one(notify_manager):
    manager = notify_manager(watchdog_s=20.0)
    assert notifywrap.ready("one")
    assert manager.status == "one"
    manager.wait_status("never", 0.01)

def test_two(notify_manager):
    manager = notify_manager(["/bin/sh", "-c", "echo from the daemon; exit 3"])
    assert manager.wait_ended(20).code == 4

def test_three():
    assert "NOTIFY_SOCKET" not in os.environ
    assert not notifywrap.ready()
"""

LAB = """
import pytest

def test_one(systemd_lab, tmp_path):
    systemd_lab.install("etc/hello.service")
    systemd_lab.install("hello.service.d/where.conf", f"[Service]\\nEnvironment=TO={tmp_path}/said")
    systemd_lab.install("many@.service", "[Service]\\nExecStart=/bin/sleep 1000")
    systemd_lab.systemctl("enable", "hello.service", check=True)
    systemd_lab.systemctl("start", "hello.service", "many@1.service", check=True)
    systemd_lab.wait("hello.service", ActiveState="active")
    assert (tmp_path / "said").read_text() == "hello"
    assert systemd_lab.run("cat", "/opt/data").stdout == "data"
    assert "the first" in systemd_lab.journal("hello.service")
    assert 0, "on purpose"

def test_two(systemd_lab, tmp_path):
    units = systemd_lab.systemctl("list-units", "--all", "--plain", "hello*", "many*").stdout
    assert "0 loaded units" in units
    assert not list((systemd_lab.root / "etc/systemd/system").rglob("*"))
    systemd_lab.install("hello.service", "[Service]\\nType=oneshot\\nExecStart=/bin/echo again")
    systemd_lab.systemctl("start", "hello.service", check=True)
    assert "the first" not in systemd_lab.journal("hello.service")
    with pytest.raises(Exception, match="No such file"):
        systemd_lab.install("no/such.service")
"""

HELLO = """
[Service]
Type=exec
ExecStart=/bin/sh -c 'printf hello >$TO; echo the first; exec sleep 1000'
Restart=always
RestartSec=0
StartLimitIntervalSec=0
[Install]
WantedBy=lab.target
"""


def run(directory: Path, *prefix: str) -> str:
    """What pytest says in *directory*, as another project."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    pytest = [sys.executable, "-P", "-m", "pytest", "-v", "-rs", "-W", "error", "--color=no"]
    done = subprocess.run(
        [*prefix, *pytest],
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    print(done.stdout)
    return done.stdout


def results(said: str) -> list[str]:
    return re.findall(r"^test_it.py::\S+ ([A-Z]+)", said, re.MULTILINE)


def test_it_costs_nothing_where_it_is_not_used() -> None:
    """It is loaded in every run of pytest by everybody who has notifywrap installed."""
    script = "import sys, pytest; before = set(sys.modules); import notifywrap.testing.plugin; "
    script += "print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().split() == [
        "notifywrap",
        "notifywrap.testing",
        "notifywrap.testing.plugin",
    ]


@pytest.mark.slow
def test_a_failure_tells_what_the_service_did(tmp_path: Path) -> None:
    """And the next test finds nothing of it."""
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_it.py").write_text(OWN_PROCESS)
    said = run(tmp_path)
    assert results(said) == ["FAILED", "FAILED", "PASSED"]
    assert "ManagerError: waited for a STATUS with 'never'" in said
    assert "def wait_status" not in said, "the line of the test, and not our own"
    assert re.search(r"-+ notify_manager: /bin/sh -c .* -+\n.*started .*\n.*exit status 3", said)
    assert "from the daemon" in said


@pytest.mark.slow
@pytest.mark.systemd
@pytest.mark.usefixtures("lab")
def test_a_unit_goes_with_its_test(tmp_path: Path) -> None:
    """Its files, its symbolic links, its instances, and its journal; a failure shows that first."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hello.service").write_text(HELLO)
    (tmp_path / "data").write_text("data")
    (tmp_path / "pytest.ini").write_text("[pytest]\nsystemd_lab_binds = data:/opt/data\n")
    (tmp_path / "test_it.py").write_text(LAB)
    said = run(tmp_path)
    assert results(said) == ["FAILED", "PASSED"]
    assert "AssertionError: on purpose" in said
    assert re.search(r"-+ systemd_lab: hello.service -+\n(.*\n)*.*the first", said)
    assert "systemd_lab: many@*.service" in said


@pytest.mark.slow
@pytest.mark.systemd
@pytest.mark.usefixtures("lab")
def test_the_lab_is_skipped_with_its_reason(tmp_path: Path) -> None:
    """In a container that may not mount nobody wants a failure, but to know why."""
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_it.py").write_text(LAB)
    said = run(tmp_path, "setpriv", "--bounding-set=-sys_admin")
    assert results(said) == ["SKIPPED", "SKIPPED"]
    assert re.search(r"SKIPPED \[1\].*no systemd can be booted here: .*CAP_SYS_ADMIN", said)
