"""Each attempt works where nothing forbids it, and does not where something does.

An attempt that never works says "denied" of every unit, and nobody would notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.drill.table import ALL, NAMED
from tests.drill.units import CLOSED, OPEN

if TYPE_CHECKING:
    from tests.drill.place import Place, Result

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

# What no unit in a lab can do, since the lab itself or the kernel does not have it.
NOT_IN_A_LAB = {
    "read kmsg": "the lab gives nobody CAP_SYSLOG",
    "settime": "... nor CAP_SYS_TIME",
    "load a kernel module": "... nor CAP_SYS_MODULE",
    "load another kernel": "the kernel may be built without kexec",
    "access to I/O ports": "the lab gives nobody CAP_SYS_RAWIO",
    "raw memory and ports": "... and /dev is the lab's own",
    "open /dev/vda": "... without disks",
    "socket AF_ALG": "the kernel may be built without it",
    "x32 system calls": "few kernels have them",
    "UDP egress": "the lab's network leads nowhere",
    "connect the system bus": "there is no D-Bus in a lab",
    "read credentials of others": "no other service has any",
}
# What a service with a jail and a root directory of its own can do all the same, and needs.
LEFT = {
    "write /tmp",
    "write state dir",
    "write acme.json",
    "start a thread",
    "socket AF_INET",
    # Not counted: of the kernel that it is, and to be had for nothing
    "bind UDP :18081",
    "listen without bind",
    "map a dropped file as code",
    "userfaultfd for user mode",
}


@pytest.fixture(scope="module")
def opened(place: Place) -> Result:
    return place.judge("open", OPEN)


@pytest.fixture(scope="module")
def closed(place: Place) -> Result:
    return place.judge("closed", CLOSED)


def test_the_list_is_the_one_that_units_are_compared_by():
    """One attempt more or less, and no count can be compared with another."""
    assert len(NAMED) == 66
    assert len({attempt.name for attempt in ALL}) == len(ALL) > 90


@pytest.mark.parametrize("name", [a.name for a in ALL if a.name not in NOT_IN_A_LAB])
def test_an_attempt_works_where_nothing_forbids_it(opened: Result, name: str):
    """Root, all capabilities, no sandbox."""
    assert opened.allowed[name], opened.reasons[name]


@pytest.mark.parametrize("name", [a.name for a in ALL if a.name not in LEFT])
def test_an_attempt_is_denied_where_everything_forbids_it(closed: Result, name: str):
    """A user of its own, no capability, a system call filter, a root directory, a jail."""
    assert not closed.allowed[name]
    assert closed.reasons[name], "why is part of the answer"


@pytest.mark.parametrize("name", sorted(LEFT))
def test_what_a_service_needs_is_left_to_it(closed: Result, name: str):
    """A drill that denies all has not looked."""
    assert closed.allowed[name], closed.reasons[name]
