"""What all tests share: a booted systemd, and units in it that are gone after their test."""

from __future__ import annotations

import itertools
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from notifywrap.testing.lab import Lab, unavailable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parents[1]

numbers = itertools.count(1)

# Whoever runs the tests in the background of a shell ignores these two, and so would all children.
for _signum in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_signum) is signal.SIG_IGN:
        signal.signal(_signum, signal.SIG_DFL)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A real systemd for all tests of this process; the repository and its .venv are inside.

    So is every test's tmp_path, for reading and writing; for root, and without PrivateTmp=.
    """
    reason = unavailable()
    if reason is not None:
        pytest.skip(f"no systemd can be booted here: {reason}")
    with Lab(binds=[REPOSITORY, f"{tmp_path_factory.getbasetemp()}:rw"]) as booted:
        yield booted


@pytest.fixture(scope="session")
def lab_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Lab]]:
    """`lab_of("trixie")`: the systemd of another Debian release, booted once for this process.

    Skips where its tree is not there (`script/test --all-systemd` builds what is missing). Inside
    are the repository, every test's tmp_path, and this machine's /usr below /opt/host.
    """
    booted: dict[str, Lab] = {}

    def boot(suite: str) -> Lab:
        tree = REPOSITORY / ".cache/rootfs" / suite
        if not tree.is_dir():
            pytest.skip(f"there is no {tree.relative_to(REPOSITORY)} (script/test --all-systemd)")
        reason = unavailable()
        if reason is not None:
            pytest.skip(f"no systemd can be booted here: {reason}")
        if suite not in booted:
            binds = [REPOSITORY, f"{tmp_path_factory.getbasetemp()}:rw", "/usr:/opt/host/usr"]
            booted[suite] = Lab(rootfs=tree, binds=binds).up()
        return booted[suite]

    yield boot
    for one in booted.values():
        one.down()


class Unit:
    """A unit of one test, under a name of its own."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name

    def start(
        self, *, check: bool = True, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """`systemctl start`: with check, a failure shows the unit's journal."""
        done = self.lab.systemctl("start", self.name, timeout_s=timeout_s)
        assert not check or done.returncode == 0, f"{done.stdout}\n{self.journal()}"
        return done

    def stop(self, *, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        return self.lab.systemctl("stop", self.name, check=True, timeout_s=timeout_s)

    def kill(self, signal: str, *options: str) -> None:
        """Signal all of its processes; `--kill-who=main` for the main one alone."""
        self.lab.systemctl("kill", f"--signal={signal}", *options, self.name, check=True)

    def show(self, *properties: str) -> dict[str, str]:
        return self.lab.show(self.name, *properties)

    def wait(self, *, timeout_s: float = 15.0, **wanted: str) -> dict[str, str]:
        return self.lab.wait(self.name, timeout_s=timeout_s, **wanted)

    def journal(self, *options: str) -> str:
        return self.lab.journal(self.name, *options)

    def pids(self) -> list[int]:
        """Every process in its cgroup, as the host numbers them."""
        group = self.show("ControlGroup")["ControlGroup"]
        try:
            listed = (self.lab.root / f"sys/fs/cgroup{group}/cgroup.procs").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in listed.split()] if group else []

    def discard(self) -> None:
        """Whatever state it is in: end it at once, check that nothing is left, and forget it."""
        self.lab.systemctl("stop", "--no-block", self.name)  # or Restart= would bring it back
        self.lab.systemctl("kill", "--signal=KILL", self.name)
        state = self.lab.wait(self.name, Job="", timeout_s=20.0) | self.show("ActiveState")
        assert state["ActiveState"] in ("inactive", "failed"), self.journal()
        assert self.pids() == [], f"{self.name} left processes behind: {self.journal()}"
        self.lab.systemctl("reset-failed", self.name)
        (self.lab.root / "etc/systemd/system" / self.name).unlink()


@pytest.fixture
def unit(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Callable[..., Unit]]:
    """Makes units: `unit(ExecStart="...", Type="notify")` or `unit(text)`; start=False installs.

    A setting that is a list becomes one line each. There is no start limit: tests restart a lot.
    """
    made: list[Unit] = []

    def make(
        text: str = "", *, start: bool = True, suffix: str = ".service", **service: Any
    ) -> Unit:
        words = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")[:80]
        one = Unit(lab, f"{words}-{next(numbers)}{suffix}")
        lines = ["[Unit]", "StartLimitIntervalSec=0", "[Service]"]
        for key, value in service.items():
            lines += [f"{key}={each}" for each in (value if isinstance(value, list) else [value])]
        lab.install(one.name, text or "\n".join([*lines, ""]))
        made.append(one)
        if start:
            one.start()
        return one

    yield make
    for one in reversed(made):
        one.discard()
