"""harden that is ended at any moment: nothing of it is left running or installed."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.harden.conftest import install_victim
from tests.system.daemons import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(120)]

# A process tree of its own, in a session of its own, that lives longer than the round.
EXERCISE = "touch /run/exercised; setsid sleep 600 & sleep 0.2"
DIRECTORIES = (
    *("run", "run/systemd/system", "run/systemd/transient", "run/private", "etc/systemd/system"),
    *("var/lib", "var/lib/private", "var/cache", "var/cache/private", "var/log", "srv", "tmp"),
)
LIMIT_S = 30.0


class Seen(NamedTuple):
    """All that could be left of it."""

    files: set[str]
    units: set[str]
    mounts: list[str]
    processes: list[str]
    listeners: int


def look(place: Machine) -> Seen:
    files = {
        f"{directory}/{path.name}"
        for directory in DIRECTORIES
        if (place.root / directory).is_dir()
        for path in (place.root / directory).iterdir()
        if path.name != "exercised"
    }
    units = place.lab.systemctl("list-units", "--all", "--plain", "--no-legend").stdout
    return Seen(
        files,
        {line.split()[0] for line in units.splitlines()},
        Path(f"/proc/{place.lab.pid}/mountinfo").read_text().splitlines(),
        sorted(processes(place)),
        Path(f"/proc/{place.lab.pid}/net/tcp").read_text().count(" 0A "),
    )


def differences(before: Seen, now: Seen) -> Iterator[object]:
    """For who reads why a test has failed."""
    for was, there in zip(before, now, strict=True):
        if isinstance(was, int) or isinstance(there, int):
            yield was, there
        else:
            yield set(was) ^ set(there)


def processes(place: Machine) -> Iterator[str]:
    for path in (place.root / "proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words[0]:
            yield b" ".join(words).decode()


class Run:
    """harden, running on victim.service in there."""

    def __init__(self, place: Machine, *words: str) -> None:
        self.place = place
        (place.root / "run/exercised").unlink(missing_ok=True)
        command = ("/usr/local/bin/notifywrap", "harden", "--max-rounds", "2", *words)
        more = ("--exercise", EXERCISE, "victim.service")
        self.process: subprocess.Popen[Any] = place.lab.popen(
            *command, *more, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def says(self, words: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if re.search(words, line):
                return
        raise AssertionError(f"it has ended without saying {words!r}")

    def makes(self, pattern: str) -> None:
        until(lambda: any(self.place.root.glob(pattern)), LIMIT_S)


# Each phase, by something that is seen of it.
MOMENTS: dict[str, Callable[[Run], None]] = {
    "announced": lambda run: run.says("is started under another name"),
    "copied": lambda run: run.makes("var/lib/notifywrap-harden-*"),
    "started": lambda run: run.makes("run/systemd/system/notifywrap-harden-*.service"),
    "exercised": lambda run: run.makes("run/exercised"),
    "filter tried": lambda run: run.makes("run/systemd/system/notifywrap-harden-*-filter.service"),
    "round": lambda run: run.says("round 1 "),
    "drilled": lambda run: run.makes("run/systemd/system/notifywrap-drill-*"),
}


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Machine:
    place = machine("notifywrap@")
    install_victim(place)
    return place


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        *[("KILL", moment) for moment in MOMENTS],
        *[(name, moment) for name in ("TERM", "HUP") for moment in ("copied", "exercised")],
        ("INT", "started"),
        ("INT", "drilled"),
    ],
)
def test_nothing_is_left(place: Machine, name: str, moment: str) -> None:
    """Units, copies, sockets, mounts and processes, those of an exercise as well."""
    before = look(place)
    run = Run(place)
    MOMENTS[moment](run)
    run.process.send_signal(getattr(signal, f"SIG{name}"))
    run.process.communicate(timeout=LIMIT_S)
    assert run.process.returncode != 0

    until(lambda: (now := look(place)) == before or print(*differences(before, now)), LIMIT_S)
