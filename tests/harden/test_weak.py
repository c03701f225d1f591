"""A target that gets worse in ways that no health check sees: each is found, its cause named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.harden.conftest import WEAK, harden, install_weak
from tests.units.machine import ASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(300)]

PORT = 8088
# Some of the harmless ones are there already, to save rounds; the others are the haystack.
UNIT = f"""\
[Service]
Type=notify
ExecStart=/usr/local/bin/notifywrap --probe http://127.0.0.1:{PORT}/ -- \\
    /usr/bin/python3 -I -u {WEAK} {PORT} /root/resolver.conf
StateDirectory=weak
User=daemon
AmbientCapabilities=CAP_DAC_READ_SEARCH
PrivateDevices=yes
DevicePolicy=closed
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
KeyringMode=private
PrivateIPC=yes
PrivateMounts=yes
UMask=0077
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
"""
GET = f"/usr/bin/python3 -I {ASK} get http://127.0.0.1:{PORT}"
OK = "grep -q '\"status\": 200'"
EXERCISES = ("--exercise", f"{GET}/resolve | {OK}", "--exercise", f"{GET}/work | {OK}")


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Machine:
    """With the server, its resolver's configuration, and state of the real service."""
    place = machine("notifywrap@")
    install_weak(place)
    (place.root / "root/resolver.conf").write_text("nameserver 127.0.0.1\n")
    state = place.root / "var/lib/weak"
    state.mkdir()
    (state / "data").write_text("of the real service\n")
    place.lab.run("chown", "-R", "daemon", "/var/lib/weak", check=True)
    place.lab.install("weak.service", UNIT)
    return place


def look(place: Machine) -> str:
    """All that is in the state directory: names, owners, modes, times, and content."""
    words = "cd /var/lib/weak && find . -printf '%p %U %G %m %T@ %s\\n' -type f -exec cat {} +"
    return place.lab.run("sh", "-c", words, check=True).stdout


@pytest.fixture(scope="module")
def found(place: Machine) -> dict[str, Any]:
    """What harden says of it."""
    before = look(place)
    found = harden(place, "weak.service", *EXERCISES)
    assert look(place) == before, "it has written to real data"
    return found


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("ProcSubset=pid", "the queue of 127.0.0.1:8088 is 16 connections long instead of"),
        ("ProtectHome=yes", "/resolve"),
        ("LockPersonality=yes", "its log says: error: cannot choose a personality"),
        ("SystemCallFilter=~@resources", "lost threads"),
        ("SystemCallFilter=~memfd_create", "more memory"),
        ("MemoryDenyWriteExecute=yes", "/work"),
    ],
    ids=["queue", "resolver", "log", "threads", "memory", "speed"],
)
def test_what_makes_it_worse_is_rejected_by_name(
    found: dict[str, Any], cause: str, said: str
) -> None:
    """It is ready and healthy under each: who looks at nothing else would keep them all."""
    reasons = {" ".join(each["settings"]): each["reasons"] for each in found["rejected"]}
    assert cause in reasons
    assert any(said in reason for reason in reasons[cause]), reasons[cause]
    assert cause not in [line for each in found["kept"] for line in each["settings"]]


def test_what_does_not_is_kept(found: dict[str, Any]) -> None:
    """One culprit in a group must not take the others down with it."""
    kept = {each["name"] for each in found["kept"]}
    assert found["verified"]
    assert {"NoNewPrivileges", "RestrictNamespaces", "RestrictRealtime", "ProtectProc"} <= kept
    assert {"SystemCallFilter=~@privileged", "SystemCallFilter=~@keyring", "TasksMax"} <= kept


def test_the_same_input_gives_the_same_result(place: Machine) -> None:
    """Byte for byte: a drop-in under version control must not change by itself."""
    before = look(place)
    words = (*EXERCISES, "--max-rounds", "6", "--state", "none")
    one, again = (harden(place, "weak.service", *words) for _ in range(2))
    assert one["kept"]
    assert one["rejected"]
    assert look(place) == before, "--state none: of real data not even a copy is made"
    for part in ("kept", "rejected", "untried", "files"):
        assert again[part] == one[part]
