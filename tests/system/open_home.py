"""notifywrap in a lab where every user can read it: the repository may lie in root's home."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from hosts import PYTHON, REPOSITORY, TARGETS

if TYPE_CHECKING:
    from notifywrap.testing.lab import Lab

__all__ = ["HOME", "SERVER", "WRAPPER", "install"]

HOME = "/opt/notifywrap-under-test"
LAUNCHER = f"""\
#!/usr/bin/python3 -I
import sys
sys.path.insert(0, "{HOME}")
from notifywrap.cli.__main__ import main
sys.exit(main())
"""
WRAPPER = (f"{HOME}/notifywrap-program",)
SERVER = (*PYTHON, f"{HOME}/server.py")


def install(lab: Lab) -> None:
    """Put it there, once for each lab."""
    home = lab.root / HOME[1:]
    if home.exists():
        return
    home.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "testing")
    shutil.copytree(REPOSITORY / "notifywrap", home / "notifywrap", ignore=ignored)
    shutil.copy(TARGETS / "server.py", home)
    (lab.root / WRAPPER[0][1:]).write_text(LAUNCHER)
    for path in [home, *home.rglob("*")]:
        path.chmod(0o755)
