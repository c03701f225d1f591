"""`notifywrap unit install --notify-reload`: a drop-in with which systemd itself asks for a reload.

systemd sends HUP at once then, and never hears that a reload has failed. So a unit that asks
something first, as with `promtool check`, cannot have it (tried: systemd 257 sends HUP all the same
where an ExecReload= fails).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from notifywrap.errors import SpecError
from notifywrap.unitfile.rules.manager import NOTIFY_RELOAD_SINCE
from notifywrap.unitfile.unit import parse_unit

if TYPE_CHECKING:
    from notifywrap.unitfile.execline import Command

__all__ = ["NAME", "make_drop_in"]

NAME = "notify-reload.conf"
TEXT = """\
# Written by `notifywrap unit install --notify-reload`, for systemd 253 and later.
[Service]
# `systemctl reload` sends HUP to notifywrap, and returns when its probes pass again. Where the
# reload fails it does not: `systemctl status` says so, and the journal.
Type=notify-reload
ExecReload=
"""


def make_drop_in(name: str, text: str, version: int | None) -> str:
    """The drop-in for a unit's *text*; raises SpecError where it would not do.

    version  of the systemd that it is for; None where that is not known
    """
    if version is not None and version < NOTIFY_RELOAD_SINCE:
        raise SpecError(
            f"--notify-reload: systemd {version} does not know Type=notify-reload"
            f" ({NOTIFY_RELOAD_SINCE} does)"
        )
    commands = [command for command, _ in parse_unit(text, name).commands("ExecReload")]
    if not commands:
        raise SpecError(f"--notify-reload: {name} has nothing to reload")
    others = [command.path for command in commands if not _is_ours(command)]
    if others:
        raise SpecError(
            f"--notify-reload: {name} asks {os.path.basename(others[0])} before it reloads, and"
            " systemd would not wait for its answer: keep Type=notify"
        )
    return TEXT


def _is_ours(command: Command) -> bool:
    return os.path.basename(command.path) == "notifywrap" and command.argv[1:2] == ("reload",)
