"""A lab with a service's files in it, and what drills of its units say."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from notifywrap.drill.dropped import program
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from notifywrap.testing.lab import Lab

TARGET = "usr/local/bin/hello"  # static, so that its jail needs no loader
CONFIGURATION = "etc/hello/hello.toml"
DRILL = (sys.executable, "-m", "notifywrap", "drill")


class Result(NamedTuple):
    """What one drill said."""

    allowed: dict[str, bool]
    reasons: dict[str, str]
    told: dict[str, Any]

    def counted(self) -> set[str]:
        """The names of what worked of the 66."""
        return {
            each["name"] for each in self.told["attempts"] if each["counted"] and each["allowed"]
        }


class Place:
    """A lab with a service's files in it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        for name, data in ((TARGET, program()), (CONFIGURATION, b"x = 1\n")):
            (lab.root / name).parent.mkdir(exist_ok=True)
            (lab.root / name).write_bytes(data)
            (lab.root / name).chmod(0o755)
        (lab.root / "srv/empty").mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> str:
        """A unit file that systemd does not know of."""
        (self.lab.root / "root" / f"{name}.service").write_text(text)
        return f"/root/{name}.service"

    def run(self, *words: str) -> Any:
        return self.lab.run(*DRILL, *words, env={"PYTHONPATH": str(REPOSITORY)})

    def judge(self, name: str, text: str) -> Result:
        done = self.run("--json", self.write(name, text))
        assert done.returncode == 0, done.stdout
        return understand(done.stdout)

    def traces(self) -> list[str]:
        """All that a drill may have made and that is still there, whatever it is."""
        looked = ["etc", "run", "tmp", "var/tmp", "var/lib", "var/lib/private", "var/cache",
                  "var/log", "dev/shm", "usr/local/bin", "etc/hello", "run/systemd/system",
                  "run/systemd/transient", "sys/fs/cgroup/system.slice"]  # fmt: skip
        found = []
        for directory in looked:
            path = self.lab.root / directory
            found += (
                [str(each) for each in path.glob("*notifywrap-drill*")] if path.is_dir() else []
            )
        units = self.lab.systemctl("list-units", "--all", "--no-legend", "notifywrap-drill*")
        return [*found, *units.stdout.splitlines()]


def understand(text: str) -> Result:
    told = json.loads(text)
    attempts = told["attempts"]
    return Result(
        {each["name"]: each["allowed"] for each in attempts},
        {each["name"]: each["reason"] for each in attempts},
        told,
    )
