"""WATCHDOG_USEC and WATCHDOG_PID, as sd_watchdog_enabled(3) has them."""

from __future__ import annotations

import ctypes
import os

import pytest

from notifywrap.errors import NotifyError
from notifywrap.protocol.grant import parse_grant

PID = 4711


@pytest.mark.parametrize(
    ("env", "grant_s"),
    [
        ({}, None),
        ({"WATCHDOG_PID": str(PID)}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": str(2**64 - 1), "WATCHDOG_PID": str(PID)}, None),
    ],
)
def test_the_grant_is_ours_or_none(env: dict[str, str], grant_s: float | None) -> None:
    """Pings on somebody else's grant would feed the wrong watchdog."""
    assert parse_grant(env, PID) == grant_s


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "1s", " 1", "1_0", "infinity", "٣", "0x10", str(2**64), "9" * 5000]
)
def test_garbage_is_refused_by_name(text: str) -> None:
    """A watchdog that is silently off is found out when the service hangs."""
    with pytest.raises(NotifyError, match=r"WATCHDOG_USEC=.*WatchdogSec="):
        parse_grant({"WATCHDOG_USEC": text}, PID)


def test_a_garbled_owner_is_refused_by_name() -> None:
    """It cannot be told whether the grant is ours."""
    with pytest.raises(NotifyError, match="WATCHDOG_PID"):
        parse_grant({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "me"}, PID)


@pytest.mark.parametrize("usec", ["1", "123456", "30000000", "86400000000"])
@pytest.mark.parametrize("owner", [None, "self", "1"])
def test_libsystemd_agrees(usec: str, owner: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference implementation reads the same environment."""
    try:
        library = ctypes.CDLL("libsystemd.so.0")
    except OSError:
        pytest.skip("no libsystemd here")
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if owner:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if owner == "self" else owner)
    answer = ctypes.c_uint64(0)
    # getenv() of the C library sees what os.environ has put there.
    says = library.sd_watchdog_enabled(0, ctypes.byref(answer))
    ours = parse_grant(os.environ, os.getpid())
    assert ours == (answer.value / 1e6 if says > 0 else None)
