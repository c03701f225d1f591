"""What lists of families and system calls come to, after all their lines: tried under systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.unitfile.sandbox import allows_address, allows_call, allows_family
from notifywrap.unitfile.unit import parse_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Lab, Unit

FAMILIES = ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK")
SCRIPT = """\
import errno, os, socket
for name in ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"):
    kind = socket.SOCK_RAW if name == "AF_NETLINK" else socket.SOCK_DGRAM
    try:
        socket.socket(getattr(socket, name), kind).close()
        print("may", name, flush=True)
    except OSError as error:
        assert error.errno == errno.EAFNOSUPPORT, error
try:
    os.pipe()
    print("may pipe2", flush=True)
except PermissionError:
    pass
"""
TEXTS = [
    ["RestrictAddressFamilies=AF_UNIX AF_INET", "RestrictAddressFamilies=AF_INET6"],
    ["RestrictAddressFamilies=AF_UNIX AF_INET", "RestrictAddressFamilies=~AF_UNIX"],
    ["RestrictAddressFamilies=~AF_UNIX AF_INET", "RestrictAddressFamilies=AF_UNIX"],
    ["RestrictAddressFamilies=~AF_UNIX", "RestrictAddressFamilies=~AF_NETLINK"],
    ["RestrictAddressFamilies=none"],
    ["RestrictAddressFamilies=none", "RestrictAddressFamilies=AF_UNIX"],
    ["RestrictAddressFamilies=AF_UNIX", "RestrictAddressFamilies="],
    ["SystemCallFilter=@system-service", "SystemCallFilter=~@ipc"],
    ["SystemCallFilter=@system-service", "SystemCallFilter=~@ipc", "SystemCallFilter=pipe2"],
    ["SystemCallFilter=~@ipc"],
    ["SystemCallFilter=~@ipc", "SystemCallFilter=@ipc"],
    ["SystemCallFilter=~pipe2:EACCES shmget"],
    ["SystemCallFilter=~@ipc", "SystemCallFilter="],
]


@pytest.mark.systemd
@pytest.mark.parametrize("lines", TEXTS, ids=" ".join)
def test_what_is_allowed_is_what_systemd_allows(
    lab: Lab, unit: Callable[..., Unit], lines: list[str]
):
    """Later lines add to, and take from, what the first one began."""
    (lab.root / "opt/may").write_text(SCRIPT)
    text = "\n".join(["[Service]", "Type=oneshot", *lines, "SystemCallErrorNumber=EPERM", ""])
    one = unit(f"{text}ExecStart=/usr/bin/python3 -IS /opt/may\n")
    seen = {line.split()[1] for line in one.journal().splitlines() if line.startswith("may ")}
    ours = parse_unit(text)
    allowed = {family for family in FAMILIES if allows_family(ours, family)}
    if allows_call(ours, "pipe2", ("@ipc", "@system-service")):
        allowed.add("pipe2")
    assert allowed == seen


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        ([], True),
        (["IPAddressDeny=any"], False),
        (["IPAddressDeny=any", "IPAddressAllow=localhost"], True),
        (["IPAddressDeny=any", "IPAddressAllow=127.0.0.1"], True),
        (["IPAddressDeny=any", "IPAddressAllow=10.0.0.0/8 ::1"], False),
        (["IPAddressDeny=any", "IPAddressDeny="], True),
        (["IPAddressDeny=link-local multicast"], True),
    ],
)
def test_an_allowed_address_counts_more_than_a_denied_one(lines: list[str], allowed: bool):
    """Source: systemd.resource-control(5), IPAddressAllow=."""
    made = parse_unit("\n".join(["[Service]", *lines]))
    assert allows_address(made, "127.0.0.1") is allowed
