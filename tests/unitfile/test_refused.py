"""Units that systemd refuses, and those that it takes although a line is wrong: asked of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.cli.check import understand
from notifywrap.unitfile.findings import Severity
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Lab

pytestmark = pytest.mark.systemd

# Command lines, for ExecStartPre= of a service that is sound otherwise.
COMMANDS = {
    "minus-quote": '-/bin/true x"y',
    "minus-directory": "-/bin/",
    "minus": "-",
    "minus-relative": "-relative/x",
    "minus-argv0": "-@/bin/true",
    "minus-specifier": "-/bin/echo %e",
    "minus-control": r"-/bin/a\tb",
    "minus-twice": "--/bin/true",
    "minus-then-more": "-/bin/ ; /bin/true",
    "open-quote": '"/bin/true',
    "quote-inside": '/bin/tr"ue',
    "later-quote": '/bin/true ; "x',
    "later-minus": "/bin/true ; -/bin/ ; /bin/false",
    "later-directory": "/bin/true ; /bin/",
    "later-specifier": "/bin/true ; /bin/echo %e",
    "later-argument": '/bin/true ; /bin/echo "x',
    "later-relative": "/bin/true ; a/b",
    "directory": "/bin/",
    "dot": ".",
    "argument": '/bin/true "x',
    "specifier": "/bin/%e x",
    "specifier-in-argument": "/bin/true %e",
    "argv0": "@/bin/true",
    "empty-argv0": "@/bin/true ''",
    "empty-word": "''",
    "semicolon": ";",
    "semicolon-first": "; /bin/true",
    "two-privileges": "+!/bin/true",
    "three-marks": "!!!/bin/true",
    "bare": "true",
    "space": '"/bin/a b"',
    "control": r"/bin/a\tb",
    "newline": r"/bin/a\nb",
    "delete": r"/bin/a\x7fb",
    "double": r"/bin/a\"b",
    "single": '''"/bin/a'b"''',
    "backslash": r"/bin/a\\b",
    "unknown-escape": r"/bin/true\q",
    "unknown-escape-in-argument": r"/bin/true \q \xZZ \x00 \999",
    "umlaut": "/bin/ä",
    "long": f"/bin/{'x' * 255}",
    "too-long": f"/bin/{'x' * 256}",
    "long-bare": "x" * 256,
    "too-deep": f"/{'x/' * 2100}a",
}
RE, ONE, TRUE = "RemainAfterExit=yes\n", "Type=oneshot\n", "ExecStart=/bin/true\n"
STOP, BUS, ACT = "ExecStop=/bin/true\n", "BusName=org.example.X\n", "[Unit]\nSuccessAction=reboot\n"
MIB = 1 << 20
# Units as they are, below [Service].
WHOLE = {
    "nothing": "",
    "other-section": "[Unit]\nDescription=x\n",
    "reset": f"{TRUE}ExecStart=\n",
    "reset-and-stop": f"{TRUE}ExecStart=\n{STOP}{RE}",
    "stop": STOP,
    "stop-remains": f"{STOP}{RE}",
    "remains": RE,
    "before": "ExecStartPre=/bin/true\n",
    "acts": ACT,
    "acts-not": "[Unit]\nSuccessAction=none\n",
    "acts-on-failure": "[Unit]\nFailureAction=reboot\n",
    "one": ONE,
    "one-stop": f"{ONE}{STOP}",
    "one-stop-remains": f"{ONE}{STOP}{RE}",
    "one-acts": f"{ONE}{ACT}",
    "simple-stop": f"Type=simple\n{STOP}{RE}",
    "simple-acts": f"Type=simple\n{ACT}",
    "bus": BUS,
    "bus-stop": f"{BUS}{STOP}{RE}",
    "bus-nameless": f"Type=dbus\n{TRUE}",
    "several": f"{TRUE}{TRUE}",
    "one-several": f"{ONE}{TRUE}{TRUE}",
    "several-behind-minus": f"ExecStart=-/bin/\n{TRUE}",
    "one-always": f"{ONE}{TRUE}Restart=always\n",
    "one-on-success": f"{ONE}{TRUE}Restart=on-success\n",
    "one-on-failure": f"{ONE}{TRUE}Restart=on-failure\n",
    "pam": f"{TRUE}PAMName=x\nKillMode=process\n",
    "ignored-command": "ExecStart=-/bin/\n",
    "ignored-type": f"Type=sometimes\n{TRUE}",
    "user-specifier": f"{TRUE}User=%e\n",
    "header": f"{TRUE}[Unit\n",
    "not-utf8": f"{TRUE}X=\udcff\n",
    "not-utf8-comment": f"{TRUE}# \udcff\n",
    "not-utf8-elsewhere": f"{TRUE}[X-Mine]\na=\udcff\n",
    "long-line": f"{TRUE}Environment=A={'x' * (MIB - 100)}\n",
    "too-long-line": f"{TRUE}Environment=A={'x' * MIB}\n",
    "too-long-comment": f"{TRUE}#{'x' * MIB}\n",
    "too-long-continued": TRUE + "Environment=A=" + f"{'x' * 999}\\\n" * 1100 + "\n",
    "ends": f"{TRUE}Environment=A\0ExecStartPre=/bin/\n",
    "carriage-return": f"{TRUE}Environment=A=1\rExecStartPre=/bin/\n",
}
UNITS = {
    **{f"c-{key}": f"[Service]\n{TRUE}ExecStartPre={said}\n" for key, said in COMMANDS.items()},
    **{f"w-{key}": f"[Service]\n{text}" for key, text in WHOLE.items()},
    **{f"d-{key}": f"[Service]\n{TRUE}" for key in COMMANDS},
}


@pytest.fixture(scope="module")
def units(lab: Lab) -> Iterator[Lab]:
    """A lab with all of them, and the commands once more in drop-ins."""
    etc = lab.root / "etc/systemd/system"
    files = {f"{name}.service": text for name, text in UNITS.items()}
    for key, said in COMMANDS.items():
        dropin = f"[Service]\nExecStartPre={said}\nRestartSec=7\n"
        files[f"d-{key}.service.d/x.conf"] = dropin
    for name, text in files.items():
        (etc / name).parent.mkdir(exist_ok=True)
        (etc / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    lab.systemctl("daemon-reload", check=True)
    yield lab
    for name in files:
        (etc / name).unlink()
    lab.systemctl("daemon-reload", check=True)


@pytest.mark.parametrize("name", UNITS)
def test_what_systemd_refuses_is_an_error_and_nothing_else(units: Lab, name: str):
    """ "It cannot work" about a unit that runs is what makes people turn a linter off."""
    state = units.run("systemctl", "show", "-P", "LoadState", f"{name}.service").stdout.strip()
    found = lint(load_named(f"{name}.service", str(units.root)), understand)
    errors = [each for each in found if each.severity is Severity.ERROR]
    assert bool(errors) == (state != "loaded"), (state, found)
    assert all("refuses the unit" in each.text for each in errors)


@pytest.mark.parametrize("name", [name for name in UNITS if name[0] in "cd"])
def test_the_commands_are_those_that_systemd_takes(units: Lab, name: str):
    """Also where it ignores a part of the line, or the rest of a drop-in."""
    shown = units.show(f"{name}.service")
    unit = load_named(f"{name}.service", str(units.root))
    taken = [" ".join(command.argv) for command, _ in unit.commands("ExecStartPre")]
    seen = [each.partition("argv[]=")[2] for each in shown.get("ExecStartPre", "").split("{")[1:]]
    if shown["LoadState"] == "loaded":
        assert taken == [each.partition(" ;")[0].strip() for each in seen]
        is_read = unit.span("RestartSec", default=0.1) == 7
        assert is_read == (shown["RestartUSec"] == "7s")
