"""Which commands of a unit can read its credentials: what the rule says is what is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.cli.check import understand
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load_named

if TYPE_CHECKING:
    from tests.conftest import Lab

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

COMMANDS = ("ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost")
READ = (
    "/bin/sh -c 'cat $${CREDENTIALS_DIRECTORY}/word >/dev/null && echo %s reads || echo %s fails'"
)
UNIT = """\
[Service]
Type=notify
NotifyAccess=all
DynamicUser=yes
ExecStart=/bin/sh -c 'systemd-notify --ready; exec sleep 100'
SetCredential=word:secret
"""


def test_the_rule_is_about_the_commands_that_cannot_read_a_credential(lab: Lab):
    """systemd sets the variable for some of them, and hides what it leads to."""
    name = "t-credentials.service"
    lab.install(name, UNIT + "".join(f"{key}={READ % (key, key)}\n" for key in COMMANDS))
    for verb in ("start", "reload", "stop"):
        lab.systemctl(verb, name, check=True)
    said = lab.journal(name).splitlines()
    failing = {key for key in COMMANDS if f"{key} fails" in said}
    assert failing | {key for key in COMMANDS if f"{key} reads" in said} == set(COMMANDS), said
    unit = load_named(name, str(lab.root))
    lines = (lab.root / "etc/systemd/system" / name).read_text().splitlines()
    found = {
        lines[each.line - 1].partition("=")[0]
        for each in lint(unit, understand)
        if each.rule == "credential-too-late"
    }
    assert found == failing, "the rule against this systemd"
    assert "ExecReload" in failing
