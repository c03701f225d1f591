"""An application in /srv, in a virtual environment of its own, for units/gunicorn and uvicorn."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.system.daemons import BIN, program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.units.machine import Machine

__all__ = ["HOME", "SECRET", "install_application"]

HOME = "srv/example"
SECRET = "s3cret-of-the-application"
# What `pip install` would bring, and what runs it.
PARTS = {
    "gunicorn": (("gunicorn", "packaging"), "gunicorn.app.wsgiapp", "run"),
    "uvicorn": (("uvicorn", "h11", "click"), "uvicorn.main", "main"),
}


def install_application(machine: Machine, server: str, text: str) -> Path:
    """*text* as /srv/example/app.py, with its secret, as the unit's first lines say; its path."""
    program(server)
    home = machine.root / HOME
    home.mkdir()
    machine.lab.run("/usr/bin/python3", "-m", "venv", "--without-pip", f"/{HOME}/venv", check=True)
    (site,) = home.glob("venv/lib/python3*/site-packages")
    packages, module, function = PARTS[server]
    for name in packages:
        (source,) = BIN.parent.glob(f"lib/python3*/site-packages/{name}")
        shutil.copytree(source, site / name, ignore=shutil.ignore_patterns("__pycache__"))
    script = home / "venv/bin" / server
    lines = ("import sys", f"from {module} import {function}", f"sys.exit({function}())", "")
    script.write_text("\n".join((f"#!/{HOME}/venv/bin/python3", *lines)))
    app = home / "app.py"
    app.write_text(text)
    for path in (home, *home.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    secret = machine.root / f"etc/{server}/example.secret"
    secret.touch(mode=0o600)
    secret.write_text(f"{SECRET}\n")
    return app
