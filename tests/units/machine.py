"""A booted systemd with a folder of units/ in its /etc, and what can be done there."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from notifywrap.testing.lab import Lab
from tests.conftest import REPOSITORY, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ASK", "Machine", "install_beside", "install_plain", "install_venv"]

ASK = REPOSITORY / "tests/units/ask.py"
VENV = "/opt/notifywrap"
_IGNORED = shutil.ignore_patterns("__pycache__", "units", "testing")


class Machine:
    """Installed by hand, as README and units/README.md say."""

    def __init__(self, folder: str, programs: Mapping[str, str], rootfs: str | Path = "/") -> None:
        binds: list[str | Path] = [REPOSITORY]
        binds += [f"{path}:/usr/local/bin/{name}" for name, path in programs.items()]
        self.lab = Lab(binds=binds, rootfs=rootfs).up()
        self.root = self.lab.root
        if rootfs == "/":
            install_venv(self.lab)
        else:  # a small tree, in which no virtual environment can be made
            install_plain(self.lab)
        # cp -r units/FOLDER/. /etc/
        shutil.copytree(REPOSITORY / "units" / folder, self.root / "etc", dirs_exist_ok=True)
        self.lab.run("systemd-sysusers", check=True)
        self.lab.systemctl("daemon-reload", check=True)

    def unit(self, name: str) -> Unit:
        return Unit(self.lab, name)

    @contextlib.contextmanager
    def started(self, name: str) -> Iterator[Unit]:
        """The unit and its sockets, running; afterwards all of it is stopped and forgotten."""
        unit = self.unit(name)
        try:
            yield unit
        finally:
            stem = name.partition(".")[0]
            self.lab.systemctl("stop", f"{stem}*.socket", name)
            self.lab.systemctl("reset-failed")

    @contextlib.contextmanager
    def edited(self, path: str, text: str) -> Iterator[None]:
        """A file of /etc with another text, or a new one (`systemctl edit`: UNIT.d/NAME.conf)."""
        file = self.root / "etc" / path
        before = file.read_text() if file.exists() else None
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text)
        self.lab.systemctl("daemon-reload", check=True)
        try:
            yield
        finally:
            if before is None:
                file.unlink()
            else:
                file.write_text(before)
            self.lab.systemctl("daemon-reload", check=True)

    def ask(self, *words: object) -> Any:
        """What ask.py says, run in there."""
        done = self.lab.run("/usr/bin/python3", "-I", ASK, *map(str, words), check=True)
        return json.loads(done.stdout)

    def exposure(self, unit: str) -> float:
        """systemd's own score: 0 is the best, 10 the worst."""
        said = self.lab.run("systemd-analyze", "security", "--no-pager", unit).stdout
        found = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
        assert found, said
        return float(found[1])

    def check(self, unit: str) -> str:
        """The findings of `notifywrap check`, hints as well, and of `systemd-analyze verify`."""
        path = f"/etc/systemd/system/{unit}"
        found = self.lab.run("notifywrap", "check", path).stdout
        return found + self.lab.run("systemd-analyze", "--man=no", "verify", path).stdout

    def drill(self, unit: str) -> set[str]:
        """Which of the 66 attempts work in there."""
        path = f"/etc/systemd/system/{unit}"
        done = self.lab.run("notifywrap", "drill", "--json", path, timeout_s=200)
        assert done.returncode == 0, done.stdout
        attempts = json.loads(done.stdout)["attempts"]
        return {each["name"] for each in attempts if each["counted"] and each["allowed"]}

    def inside(self, pid: int) -> int:
        """What a process is called in there."""
        status = Path(f"/proc/{pid}/status").read_text()
        return int(re.findall(r"^NSpid:.*?(\d+)$", status, re.M)[0])

    def listen_drops(self) -> int:
        """How many connections the kernel has dropped because a listener's queue was full."""
        lines = Path(f"/proc/{self.lab.pid}/net/netstat").read_text().splitlines()
        names, values = (line.split() for line in lines if line.startswith("TcpExt:"))
        counters = dict(zip(names, values, strict=True))
        return int(counters["ListenDrops"]) + int(counters["ListenOverflows"])


def install_venv(lab: Lab) -> None:
    """As README's Install does, without the network."""
    lab.run("/usr/bin/python3", "-m", "venv", "--without-pip", VENV, check=True)
    (site,) = (lab.root / VENV[1:]).glob("lib/python3*/site-packages")
    _copy(lab, site, lab.root / VENV[1:] / "bin/notifywrap", f"{VENV}/bin/python")
    (lab.root / "usr/local/bin/notifywrap").symlink_to(f"{VENV}/bin/notifywrap")


def install_plain(lab: Lab) -> Path:
    """As `pip install` with Debian's python3 does for root; returns where the package is."""
    ask = "import sys; print('python%d.%d' % sys.version_info[:2])"
    version = lab.run("/usr/bin/python3", "-I", "-c", ask, check=True).stdout.strip()
    site = lab.root / f"usr/local/lib/{version}/dist-packages"
    site.mkdir(parents=True, exist_ok=True)
    _copy(lab, site, lab.root / "usr/local/bin/notifywrap", "/usr/bin/python3")
    return site / "notifywrap"


@contextlib.contextmanager
def install_beside(lab: Lab) -> Iterator[None]:
    """install_plain(), in place of the virtual environment."""
    script = lab.root / "usr/local/bin/notifywrap"
    venv = lab.root / VENV[1:]
    hidden = venv.rename(venv.with_name("hidden"))
    script.unlink()
    package = install_plain(lab)
    try:
        yield
    finally:
        shutil.rmtree(package)
        script.unlink()
        hidden.rename(venv)
        script.symlink_to(f"{VENV}/bin/notifywrap")


def _copy(lab: Lab, site: Path, script: Path, python: str) -> None:
    shutil.copytree(REPOSITORY / "notifywrap", site / "notifywrap", ignore=_IGNORED)
    shebang = (REPOSITORY / "notifywrap/bin/notifywrap").read_text()
    script.write_text(shebang.replace("#!python", f"#!{python}", 1))
    for path in [script, site / "notifywrap", *(site / "notifywrap").rglob("*")]:
        path.chmod(0o755)
    # pip does that too; a service that may not write there would compile at every start.
    inside = Path("/", site.relative_to(lab.root))
    lab.run("/usr/bin/python3", "-m", "compileall", "-q", inside / "notifywrap", check=True)
