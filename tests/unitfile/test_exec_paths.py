"""Programs that ExecPaths= leaves out: what the rule says is what systemd does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.cli.check import understand
from notifywrap.unitfile.findings import Severity
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load_named

if TYPE_CHECKING:
    from tests.conftest import Lab

pytestmark = pytest.mark.systemd

SLEEP = "NoExecPaths=/\nExecPaths=/usr/bin/sleep /usr/lib\n"
MAIN = "ExecStart=/usr/bin/sleep 100\n"
TEST = "/usr/bin/test -e /etc/passwd"
KEYS = ("ExecCondition", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost")
CASES = {
    **{key: f"{SLEEP}{MAIN}{key}={TEST}\n" for key in KEYS},
    "second-of-two": f"{SLEEP}{MAIN}ExecStartPre=/usr/bin/sleep 0\nExecStartPre={TEST}\n",
    "bare-name": f"{SLEEP}{MAIN}ExecStartPre=test -e /etc/passwd\n",
    "symlink": f"{SLEEP}{MAIN}ExecStartPre=/bin/sleep 0\n",
    "outside": f"{SLEEP}{MAIN}ExecStartPre=+{TEST}\n",
    "other-user": f"{SLEEP}{MAIN}ExecStartPre=!{TEST}\n",
    "may-fail": f"{SLEEP}{MAIN}ExecStartPre=-{TEST}\n",
    "start-only": f"{SLEEP}{MAIN}PermissionsStartOnly=yes\nExecStartPre={TEST}\n",
    "script": f"{SLEEP}ExecPaths=/opt/script\n{MAIN}ExecStartPre=/opt/script\n",
    "one-directory": f"NoExecPaths=/usr/bin\n{MAIN}",
    "one-directory-less": f"NoExecPaths=/usr/bin\nExecPaths=/usr/bin/sleep\n{MAIN}",
    "hole-in-a-hole": f"NoExecPaths=/ /usr/bin/sleep\nExecPaths=/usr\n{MAIN}",
    "elsewhere": f"NoExecPaths=/opt\n{MAIN}ExecStartPre={TEST}\n",
}

# A condition ends without the number, and what may fail is not even tried.
FAILED = ("203/EXEC", "Failed to locate executable", "missing, skipping")


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_executed_is_found(lab: Lab, case: str):
    """A hardened unit that never starts, or that cannot be reloaded a month later."""
    name = f"t-exec-{case.lower()}.service"
    (lab.root / "opt/script").write_text("#!/bin/sh\n")
    (lab.root / "opt/script").chmod(0o755)
    lab.install(name, f"[Service]\n{CASES[case]}")
    try:
        for verb in ("start", "reload", "stop"):
            lab.systemctl(verb, name)
        said = lab.journal(name)
        found = [
            each
            for each in lint(load_named(name, str(lab.root)), understand)
            if each.rule == "exec-paths"
        ]
    finally:
        (lab.root / "etc/systemd/system" / name).unlink()
    failed = any(text in said for text in FAILED)
    assert failed == bool(found), (said, found)
    assert len(found) <= 1
    is_fatal = case != "may-fail"
    assert {each.severity is Severity.ERROR for each in found} <= {is_fatal}
