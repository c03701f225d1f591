"""Machines with notifywrap installed as README says and a folder of units/ in their /etc."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.testing.lab import unavailable
from tests.system.daemons import program
from tests.units.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="package")
def machine() -> Iterator[Callable[..., Machine]]:
    """`machine("traefik", traefik="traefik")`: booted once for this folder.

    The keywords: what is called NAME in its /usr/local/bin, and which program that is. The tests of
    a folder share its machine: they leave it as they found it.
    """
    reason = unavailable()
    if reason is not None:
        pytest.skip(f"no systemd can be booted here: {reason}")
    booted: dict[str, Machine] = {}

    def boot(folder: str, **programs: str) -> Machine:
        if folder not in booted:
            paths = {name: program(command) for name, command in programs.items()}
            booted[folder] = Machine(folder, paths)
        return booted[folder]

    yield boot
    for one in booted.values():
        one.lab.down()
