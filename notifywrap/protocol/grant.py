"""How long systemd lets a service go without a ping: WATCHDOG_USEC and WATCHDOG_PID."""

from __future__ import annotations

from notifywrap.errors import NotifyError
from notifywrap.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["parse_grant"]

_UINT64_MAX = 2**64 - 1
_PID_MAX = 2**31 - 1


def parse_grant(env: Mapping[str, str], pid: int) -> float | None:
    """How long systemd waits between pings, in seconds; None when it does not expect any from us.

    pid  the process that is to ping: our own

    Raises NotifyError when WATCHDOG_USEC or WATCHDOG_PID is not a number that systemd could set.
    Source: sd_watchdog_enabled(3): a WATCHDOG_PID that names someone else means "not for us".
    Unlike there, 0 and UINT64_MAX mean "no watchdog" and are no error: the latter is what systemd
    hands out for WatchdogSec=infinity (build_environment() in exec-invoke.c).
    """
    text = env.get("WATCHDOG_USEC")
    if text is None:
        return None
    usec = _number("WATCHDOG_USEC", text, "of microseconds", _UINT64_MAX)
    owner = env.get("WATCHDOG_PID")
    if owner is not None and _number("WATCHDOG_PID", owner, "of a process", _PID_MAX) != pid:
        return None
    return None if usec in (0, _UINT64_MAX) else usec / 1_000_000


def _number(key: str, text: str, what: str, most: int) -> int:
    # Digits only: int() would take "1_000", "-5" and "٣"; libsystemd's safe_atou64() does not.
    if text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= most:
        return int(text)
    raise NotifyError(
        f"{key}={text!r} is not a number {what}; systemd sets it from WatchdogSec=: "
        f"unset {key} or let systemd set it"
    )
