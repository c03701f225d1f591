"""What every unit of units/ promises, with its daemon: on whatever Python, on an older kernel, and
to many clients at once."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import main_pid
from tests.units.every import EVERY, boot
from tests.units.machine import install_beside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

OLDER = """\
import notifywrap.runtime.landlock as landlock; \
landlock.find_abi = lambda: ({abi}, "this kernel has no Landlock" * (not {abi}))
"""
# Linux 5.13, 5.19, 6.2, 6.10: what each lacks of what a unit's jail may ask for. 0 is a kernel
# without Landlock.
ABIS = (0, 1, 2, 3, 5)
NEEDS = {"exec": 1, "read": 1, "write": 1, "bind": 4, "connect": 4, "nosignal": 6}
BURST = 500
# It listens with a queue of twice its max_connections, 200, and serves 100 clients.
NO_BURST = ("postgresql",)


@pytest.fixture(scope="module", params=EVERY)
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def place(folder: str) -> Iterator[Machine]:
    """A machine of each folder's own, for the tests of this file."""
    place = boot(folder)
    yield place
    place.lab.down()


@pytest.fixture
def unit(place: Machine, folder: str) -> Iterator[Unit]:
    with place.started(EVERY[folder].unit) as unit:
        yield unit


@contextlib.contextmanager
def older_kernel(place: Machine, abi: int) -> Iterator[None]:
    """Whatever Python starts there finds this Landlock ABI."""
    (site,) = (place.root / "opt/notifywrap").glob("lib/python3*/site-packages")
    older = site / "older.pth"
    older.write_text(OLDER.format(abi=abi))
    yield
    older.unlink()


def rules_of(place: Machine, unit: Unit, folder: str) -> set[str]:
    """The names of its jail's rules; nobind is one of bind."""
    if folder == "notifywrap@":
        return {"exec"}  # and what no Landlock is needed for: what =yes means
    text = place.lab.systemctl("cat", unit.name, check=True).stdout
    lines = re.findall(r"^    --jail=(\S+)", text, re.MULTILINE)
    lines += re.findall(r" --jail=(\S+)", " ".join(re.findall(r"^    .*", text, re.MULTILINE)))
    words = {word.partition("=")[0] for line in lines for word in line.split(",")}
    return {word if word in NEEDS else word.removeprefix("no") for word in words} & set(NEEDS)


def missing_of(rules: set[str], abi: int) -> set[str]:
    """What a kernel with this ABI cannot enforce of them, in words of the start line."""
    missing = {rule for rule in rules if abi < NEEDS.get(rule, 0)}
    if "write" in rules and 0 < abi < 3:
        missing.add("truncating files by their path")
    if "write" in rules and 0 < abi < 5:
        missing.add("ioctl(2) on devices")
    return missing


def test_it_starts_where_notifywrap_is_beside_debians_python(
    place: Machine, unit: Unit, folder: str
):
    """ExecPaths= has to name what pip installs without a virtual environment, too."""
    with install_beside(place.lab):
        unit.start()
        assert EVERY[folder].answers(place)
        unit.stop()


def test_it_starts_on_an_older_kernel_and_says_what_is_not_enforced(
    place: Machine, unit: Unit, folder: str
):
    """Debian 12's own kernel has Landlock's ABI 2: a jail does what it can, and hides nothing."""
    rules = rules_of(place, unit, folder)
    assert "exec" in rules
    for abi in ABIS:
        with older_kernel(place, abi):
            unit.start()
            assert EVERY[folder].answers(place)
            unit.stop()
        lines = [line for line in unit.journal().splitlines() if "not enforced here: " in line]
        missing = missing_of(rules, abi)
        said = lines[-1].partition("not enforced here: ")[2] if missing else ""
        words = set(re.split(r", |; ", re.sub(r" \((needs|this) [^)]*\)", "", said)))
        assert missing <= words, said
        assert words & set(NEEDS) == missing & set(NEEDS), said


def test_a_burst_of_connections_right_after_the_start_loses_none(
    place: Machine, unit: Unit, folder: str
):
    """Nobody accepts for a moment, and 500 clients come: the queue must be long enough. In a
    sandbox that hides somaxconn a Go program that binds its ports has one of 128."""
    if folder in NO_BURST:
        pytest.skip("its own queue is shorter, with and without a sandbox")
    unit.start()
    before = place.listen_drops()
    service = EVERY[folder]
    pids = [place.inside(pid) for pid in unit.pids() if pid != main_pid(unit)]
    said = place.ask("burst", service.where, service.words, service.answer, BURST, *pids)
    assert said == {"answered": BURST}
    assert place.listen_drops() == before
    assert unit.show("NRestarts") == {"NRestarts": "0"}
