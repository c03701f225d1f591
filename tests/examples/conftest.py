"""An example lies in the lab where its unit file expects it, /opt/NAME, and runs under that."""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
VENV = "opt/venv-of-the-examples"


@pytest.fixture(scope="session")
def venv(lab: Lab) -> Path:
    """What is installed here, and notifywrap, where every user of the lab can read it: the
    repository may be in a home. As the host sees it."""
    venv = lab.root / VENV
    packages = venv / f"lib/python{sysconfig.get_python_version()}/site-packages"
    installed = packages / "installed"
    for directory in (venv / "bin", installed):
        directory.mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (venv / "bin/python3").symlink_to(Path(sys.executable).resolve())
    inside = f"/{installed.relative_to(lab.root)}"
    lab.run("mount", "--bind", sysconfig.get_path("purelib"), inside, check=True)
    (packages / "installed.pth").write_text(f"{inside}\n")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "notifywrap", packages / "notifywrap", ignore=ignored)
    for script in Path(sysconfig.get_path("scripts")).iterdir():
        if script.is_file() and script.read_bytes()[:3] == b"#!/":
            _, _, code = script.read_text().partition("\n")
            copy = venv / "bin" / script.name
            copy.write_text(f"#!/{VENV}/bin/python3\n{code}")
            copy.chmod(0o755)
    return venv


@pytest.fixture
def example(lab: Lab, unit: Callable[..., Unit], venv: Path) -> Callable[..., Unit]:
    """Runs examples/NAME under its own unit file: `example("gunicorn", WatchdogSec="2s")`.

    Words are settings that the file has, with another value for this test. A file called other than
    the folder is named: `example("celery", "worker")`. With start=False it is installed alone. What
    an earlier test left below /opt/NAME and /var/lib/NAME is gone.
    """

    def make(
        name: str, unit_name: str | None = None, *, start: bool = True, **replacements: str
    ) -> Unit:
        home = lab.root / "opt" / name
        lab.run("rm", "-rf", f"/opt/{name}", f"/var/lib/{name}", f"/var/lib/private/{name}")
        shutil.copytree(EXAMPLES / name, home, ignore=shutil.ignore_patterns("__pycache__"))
        (home / "venv").symlink_to(f"/{VENV}")
        text = (home / f"{unit_name or name}.service").read_text()
        for key, value in replacements.items():
            line = f"{key}={value}".replace("\\", r"\\")
            text, found = re.subn(rf"(?m)^{key}=.*", line, text)
            assert found, f"{name}'s unit file has no {key}= to replace"
        return unit(text, start=start)

    return make
