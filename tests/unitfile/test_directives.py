"""Settings that systemd does not know, and lists that it cannot read: asked of systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.cli.check import understand
from notifywrap.unitfile.directives import DIRECTIVES, NEWEST
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load_named, parse_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Lab

DUMP = ("/usr/lib/systemd/systemd", "--dump-configuration-items")


def known_to(lab: Lab) -> set[tuple[str, str]]:
    """(section, setting) of all that a systemd takes."""
    found, section = set(), ""
    for line in lab.run(*DUMP, check=True).stdout.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and section in DIRECTIVES:
            found.add((section, line.partition("=")[0]))
    return found


@pytest.mark.systemd
def test_every_setting_of_this_systemd_is_known(lab: Lab):
    """One that is missing in the list would be a false alarm in every unit that has it."""
    ours = {(section, key) for section, keys in DIRECTIVES.items() for key in keys}
    assert lab.version > NEWEST or known_to(lab) - ours == set()


@pytest.mark.systemd
@pytest.mark.parametrize("suite", ["bookworm", "bookworm-backports", "trixie", "sid"])
def test_every_setting_of_other_versions_is_known(lab_of: Callable[[str], Lab], suite: str):
    """A unit may be for another machine than this one."""
    test_every_setting_of_this_systemd_is_known(lab_of(suite))


SETTINGS = """\
[Service]
ExecStart=/bin/true
Restrt=always
restart=always
MemoryDenyWriteExecut=yes
X-Mine=1
After=x.service
StartLimitInterval=5
StartLimitIntervalSec=5
ReadWriteDirectories=-/opt
Environmnet=A=1
[Unit]
Descripton=x
Restart=no
X-Mine=1
[Install]
WantedBy=x.target
RequiredFor=x.target
[X-Mine]
Anything=1
"""


@pytest.mark.systemd
def test_the_lines_are_those_that_systemd_complains_about(lab: Lab):
    """It does so in the journal at every start, where nobody looks."""
    lab.install("t-settings.service", SETTINGS)
    lab.systemctl("start", "t-settings.service", check=True)
    path = "/etc/systemd/system/t-settings.service:"
    # "PATH:LINE: Unknown key name 'X' in section 'Y', ignoring."
    said = {
        int(line.removeprefix(path).partition(":")[0])
        for line in lab.journal("t-settings.service").splitlines()
        if line.startswith(path) and "Unknown key" in line
    }
    found = lint(load_named("t-settings.service", str(lab.root)), understand)
    ours = {each.line for each in found if each.rule in ("misspelled", "wrong-section")}
    of_systemctl = SETTINGS.splitlines().index("RequiredFor=x.target") + 1
    assert ours == said | {of_systemctl}, "[Install] is not the manager's"


@pytest.mark.parametrize(
    ("line", "rule", "fix"),
    [
        ("Restrt=always", "misspelled", "did you mean Restart=?"),
        ("restart=always", "misspelled", "did you mean Restart=?"),
        ("MemoryDenyWriteExecut=yes", "misspelled", "did you mean MemoryDenyWriteExecute=?"),
        ("StartLimitIntervalSec=1h", "wrong-section", "move it to [Unit]"),
        ("Zebra=1", "misspelled", "write X-Zebra= if it is your own, or take it out"),
    ],
)
def test_the_fix_names_what_was_meant(line: str, rule: str, fix: str):
    """Most are one letter away."""
    unit = parse_unit(f"[Service]\nExecStart=/bin/true\n{line}\n")
    assert [(each.rule, each.fix) for each in lint(unit, understand)] == [(rule, fix)]


LISTS = [
    ("ReadWritePaths", '-/a "-/b c'),
    ("ReadWritePaths", '"-/a'),
    ("ReadWritePaths", "'-/a b' -/c"),
    ("ExecPaths", "-/a '-/b"),
    ("NoExecPaths", "-/a -/b'c"),
    ("StateDirectory", 'a "b'),
    ("PassEnvironment", 'A "B'),
    ("UnsetEnvironment", 'A "B'),
    ("Environment", 'A=1 "B=2'),
    ("Environment", r"A=1 B=\d C=3"),
]


@pytest.mark.systemd
@pytest.mark.parametrize("number", range(len(LISTS)))
def test_a_list_is_read_up_to_its_first_mistake(lab: Lab, number: int):
    """The half of a path that somebody put in quotes."""
    (key, value), name = LISTS[number], f"t-list-{number}.service"
    lab.install(name, f"[Service]\nExecStart=/bin/true\n{key}={value}\n")
    shown = lab.run("systemctl", "show", "-P", key, name, check=True).stdout.strip()
    said = f"{name}:3:" in lab.journal(name)
    unit = load_named(name, str(lab.root))
    ours = unit.words(key)
    if key == "Environment":
        ours = [f"{name}={text}" for name, text in unit.environment()[0].items()]
    # systemd puts what has a space in it into quotes.
    assert ours == [word.strip('"') for word in split_shown(shown)]
    assert any(each.rule == "broken-list" for each in lint(unit, understand)) == said


def split_shown(text: str) -> list[str]:
    return parse_unit(f"[Service]\nReadWritePaths={text}\n").words("ReadWritePaths")
