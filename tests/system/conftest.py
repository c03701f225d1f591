"""Scenarios run on both hosts unless they are about systemd itself."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hosts import Host, free_port
from open_home import install
from stand_in_host import StandInHost
from systemd_host import SystemdHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit

_names = itertools.count(1)


# The stand-in's turn is in the full run: the fast one has time for the real one alone.
@pytest.fixture(
    params=[
        pytest.param("systemd", marks=pytest.mark.systemd),
        pytest.param("stand-in", marks=pytest.mark.slow),
    ]
)
def make_host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Host]]:
    """Managers for one service each: the real one, and the stand-in for it."""
    made: list[Host] = []

    def make() -> Host:
        if request.param == "systemd":
            of = (request.getfixturevalue("lab"), request.getfixturevalue("unit"))
            made.append(SystemdHost(*of))
        else:
            made.append(StandInHost(tmp_path / f"service-{len(made)}"))
        return made[-1]

    yield make
    for host in made:
        host.close()


@pytest.fixture
def host(make_host: Callable[[], Host]) -> Host:
    """A manager for the one service of a test."""
    return make_host()


@pytest.fixture
def make_systemd(lab: Lab, unit: Callable[..., Unit]) -> Iterator[Callable[[], SystemdHost]]:
    """The real one alone, for one service each."""
    made: list[SystemdHost] = []

    def make() -> SystemdHost:
        made.append(SystemdHost(lab, unit))
        return made[-1]

    yield make
    for host in made:
        host.close()


@pytest.fixture
def systemd(make_systemd: Callable[[], SystemdHost]) -> SystemdHost:
    """The real one alone, for the one service of a test."""
    return make_systemd()


@pytest.fixture
def home(lab: Lab) -> None:
    """`open_home.WRAPPER` and its neighbours are there, for every user of the lab."""
    install(lab)


@pytest.fixture
def port() -> str:
    """A TCP port that nobody uses."""
    return free_port()


@pytest.fixture
def another_port() -> str:
    """A second one."""
    return free_port()


@pytest.fixture
def name() -> str:
    """An abstract AF_UNIX address that nobody uses."""
    return f"@notifywrap-test-{os.getpid()}-{next(_names)}"
