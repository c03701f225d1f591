"""The unit as it is shipped, under a real systemd."""

import os
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
UNIT = "courier.service"


@pytest.fixture
def lab(systemd_lab, tmp_path):
    """The unit, with the code of this checkout instead of what is installed in /opt."""
    systemd_lab.install("courier.service")
    systemd_lab.install(
        "courier.service.d/checkout.conf",
        f"""
        [Service]
        WorkingDirectory={PROJECT}
        ExecStart=
        ExecStart={sys.executable} -m courier {tmp_path}/in {tmp_path}/out
        ReadWritePaths={tmp_path}
        WatchdogSec=1s
        """,
    )
    systemd_lab.systemctl("start", UNIT, check=True)
    return systemd_lab


def test_it_carries_and_stops(lab, tmp_path):
    (tmp_path / "letter").write_text("hello")
    (tmp_path / "letter").rename(tmp_path / "in/letter")
    lab.wait(UNIT, ActiveState="active", StatusText="1 carried")
    assert (tmp_path / "out/letter").read_text() == "hello"
    lab.systemctl("stop", UNIT, check=True)
    assert "Failed" not in lab.journal(UNIT)


def test_a_hang_is_acted_on(lab, tmp_path):
    os.mkfifo(tmp_path / "in/trap")
    lab.wait(UNIT, NRestarts="1", timeout_s=8)
    assert "Watchdog timeout" in lab.journal(UNIT)
