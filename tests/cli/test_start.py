"""The two ways to start an installed notifywrap: as a program, and as `python3 -IS FILE`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "notifywrap"


@pytest.mark.parametrize("is_linked", [False, True])
def test_without_site_it_finds_itself_beside_its_interpreter(tmp_path: Path, is_linked: bool):
    """The fastest way to start it: nothing of site-packages is looked at then."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = tmp_path / "venv/lib" / version / "site-packages"
    site.mkdir(parents=True)
    (site / "notifywrap").symlink_to(PACKAGE)
    (tmp_path / "venv/bin").mkdir()
    python = tmp_path / "venv/bin/python3"
    python.symlink_to(sys.executable)
    script = tmp_path / "venv/bin/notifywrap"
    script.write_bytes((PACKAGE / "bin/notifywrap").read_bytes())
    if is_linked:
        (tmp_path / "link").symlink_to(script)
        script = tmp_path / "link"
    done = subprocess.run(
        [python, "-IS", script, "--", "sh", "-c", "exit 7"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
