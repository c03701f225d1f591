"""Every exception that notifywrap raises on purpose: one base class, and the exit status each ends
with."""

from __future__ import annotations

__all__ = [
    "CommandError",
    "NotifyError",
    "NotifywrapError",
    "SpecError",
    "describe",
    "find_place",
]


class NotifywrapError(Exception):
    """Something that the user must be told in one line. `exit_status` is what the process ends
    with."""

    exit_status = 125


class SpecError(NotifywrapError):
    """Bad input, found before anything was started: the text names the option and the fix."""

    exit_status = 2


class NotifyError(NotifywrapError):
    """The notification protocol is set up wrongly: an address, a socket, or WATCHDOG_USEC that
    cannot be."""


class CommandError(NotifywrapError):
    """The target was not executed: 127 when it was not found, 126 when it was found but cannot
    run; else for what its preparation (--jail, --credential) came upon."""

    def __init__(self, text: str, exit_status: int) -> None:
        super().__init__(text)
        self.exit_status = exit_status


def describe(error: BaseException) -> str:
    """*error* as repr() has it, or its type's name where that raises as well: it is not ours."""
    try:
        return repr(error)
    except Exception:  # noqa: BLE001
        return type(error).__name__


def find_place(error: BaseException) -> str:
    """Where *error* was raised, as "file:line", for the one line that a bug report needs."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
