"""Our reading of unit files is systemd's: the same units, asked of both."""

from __future__ import annotations

import json
import shlex
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from notifywrap.unitfile.unit import Unit, load_named
from notifywrap.unitfile.values import parse_span
from notifywrap.unitfile.words import expand_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Lab

pytestmark = pytest.mark.systemd

DUMP = "/usr/bin/python3 -IS /opt/tricky/dump"
SCRIPT = """\
import json, os
argv = open("/proc/self/cmdline", "rb").read().decode("utf-8", "surrogateescape").split("\\0")[:-1]
with open(f"/opt/tricky/{os.environ['UNIT']}.json", "a") as file:
    file.write(json.dumps([argv, dict(os.environ)]) + "\\n")
"""
HEAD = "[Service]\nType=oneshot\nEnvironment=UNIT=%n\n"

# What stands behind the dump program on the ExecStart= line.
ARGUMENTS = {
    "quotes": r"""one 'two words' "three  of them" mid"dle quo"te 'a"b' "c'd" "" '' x""",
    "escapes": r"""\x41 \t|\n| \s \"q\" \'q\' \\ \u00e4 \U0001F600 \101""",
    "escaped-quotes": r""""in \"side\"" 'in \'side\'' "a'b" 'a"b'""",
    "unknown-escapes": r"""\d+ a\.b "\w" \z\101 x\ y \xZZ \400 \x00""",
    "dollars": r"""$A ${A} x${A}y $$A $${A} $A$A "$A" '$A' $EMPTY ${EMPTY} $UNSET ${UNSET} a$A $""",
    "specifiers": r"%n %N %p %i. %I. %j %J %f %t %S %C %L %E %T %V %h %u %U %g %% %d",
    "more-specifiers": r"%%n %y %Y %- %~x x%",
    "semicolons": r"""a \; b ";" ';' c; ;d e\;f""",
    "continued": "one \\\n  two \\\n# a comment\n; another\n   three\\\\\n",
    "hash": "a # b ;c #d",
    "tabs": "a\tb   \t c  ",
}

UNITS = {
    f"t-{name}.service": f"{HEAD}ExecStart={DUMP} {text}\n" for name, text in ARGUMENTS.items()
}
UNITS |= {
    "t-several.service": f"{HEAD}ExecStart={DUMP} 1 ; {DUMP} 2 ;\nExecStart={DUMP} 3\n",
    "t-reset.service": f"{HEAD}ExecStart=/bin/false\nExecStart=\nExecStart={DUMP} after\n",
    "t-argv0.service": f"{HEAD}ExecStart=@/usr/bin/python3 zero -IS /opt/tricky/dump x\n",
    "t-minus.service": f"{HEAD}ExecStart=-/usr/bin/python3 -IS /opt/tricky/dump x\n",
    "t-colon.service": f"{HEAD}ExecStart=:-+{DUMP} $UNIT ${{UNIT}} $$\n",
    "t-slashes.service": f"{HEAD}ExecStart=//usr/./bin//python3 -IS /opt/tricky/dump a//b/./c\n",
    "t-crlf.service": f"{HEAD}ExecStart={DUMP} x\nRestartSec=3\nUser=root\n".replace("\n", "\r\n"),
    "t-environment.service": f"""\
{HEAD}
Environment="A=x y" B=1 'C=a"b' D=%p E="mid"dle F=\\x41 G=$B =bad NO
Environment=B=2
EnvironmentFile=-/opt/tricky/missing
EnvironmentFile=/opt/tricky/file
UnsetEnvironment=H
ExecStart={DUMP} $A ${{A}} ${{FA}} $FB
""",
    "t-unknown-specifier.service": f"{HEAD}Environment=A=1 B=%e C=3\nEnvironment=D=4\n"
    f"ReadWritePaths=/opt/%z /opt\nExecStart={DUMP} $A $B $C $D\n",
    "t-environment-reset.service": f"{HEAD}Environment=A=1\nEnvironment=\n"
    f"Environment=UNIT=%n B=2\nExecStart={DUMP} $A $B\n",
    "t-sections.service": f"""\
ExecStart=/bin/before-any-section
[Unit]
StartLimitBurst=7
[X-Mine]
ExecStart=/bin/ignored
[Serivce]
ExecStart=/bin/misspelled
[Service]
Type=oneshot
 Environment = UNIT=%n
no equals sign
=no name
[Unit]
StartLimitIntervalSec = 1min 5
[Service]
ExecStart={DUMP} again
""",
    "t-values.service": f"""\
{HEAD}
ExecStart={DUMP}
Restart=always
Restart=sometimes
Restart=on-failure
Restart=
KillMode=mixed
KillMode=none-such
NotifyAccess=exec
WatchdogSec=1min 30s
WatchdogSec=fast
RestartSec=1500ms
TimeoutSec=7
TimeoutStartSec=0
TimeoutStopSec=infinity
TimeoutSec=9
TimeoutStopSec=2 h 5m
PrivateTmp=yes
PrivateTmp=perhaps
PrivateDevices=TRUE
NoNewPrivileges=on
NoNewPrivileges=off
ProtectSystem=full
StartLimitInterval=1h
StartLimitBurst=3
OOMPolicy=continue
""",
    "t-lists.service": f"""\
{HEAD}
ExecStart={DUMP}
ReadWritePaths=/first
ReadWritePaths=
ReadWritePaths=-/second "/with a space" -/opt/%p
ReadWritePaths=-/third
NoExecPaths=-/opt/one -/opt/two
NoExecPaths=-/opt/three
ExecPaths=-/opt/one
SupplementaryGroups=adm
SupplementaryGroups=
SupplementaryGroups=daemon
StateDirectory=a b
StateDirectory=c
""".replace("ReadWritePaths=-/second", "ReadWriteDirectories=-/second")
    .replace("ReadWritePaths=/first", "ReadWritePaths=/opt")
    .replace('"/with a space"', "-/x"),
    "t-inst@.service": f"{HEAD}ExecStart={DUMP} %i %I %p %n %N %f %j %J\n",
    "t-inst@own.service": f"{HEAD}ExecStart={DUMP} own %i\n",
    "t-a-b-c@.service": f"{HEAD}ExecStart={DUMP} %i\n",
    "t-drop-in.service": f"{HEAD}RestartSec=1\nEnvironment=A=unit\nExecStart=/bin/false\n",
    "t-drop-in.service.d/20.conf": f"[Service]\nExecStart=\nExecStart={DUMP} 20 $A\nRestartSec=2\n",
    "t-drop-in.service.d/10.conf": "[Service]\nRestartSec=3\nEnvironment=A=10\nExecStart=/bin/no\n",
    "t-drop-in.service.d/ignored.txt": "[Service]\nRestartSec=4\n",
    "t-alias.service.d/40.conf": "[Service]\nEnvironment=BY=alias\n",
    "t-alias@.service.d/40.conf": "[Service]\nEnvironment=BY=alias\n",
    "t-drop-.service.d/15.conf": "[Service]\nEnvironment=A=15\n",
    "t-drop-.service.d/20.conf": "[Service]\nRestartSec=5\n",
}
IN_USR = {
    "t-drop-in.service.d/30.conf": "[Service]\nEnvironment=LAST=usr\n",
    "t-drop-in.service.d/15.conf": "[Service]\nEnvironment=A=usr\n",
    "t-a-b-c@x-y.service.d/10.conf": "[Service]\nEnvironment=P=usr\n",
}
# Each of these names the same drop-in: which of them counts?
PLACES = ["t-a-b-c@x-y", "t-a-b-c@", "t-a-b-", "t-a-", "t-a-b-@x-y", "t-a-b-@", "t-a-@x-y", "t-a-@"]
for index, place in enumerate(PLACES):
    for number in range(index + 1):
        UNITS[f"{place}.service.d/5{number}.conf"] = f"[Service]\nEnvironment=P{number}={place}\n"

ASKED = [
    *[name for name in UNITS if name.endswith(".service") and "@" not in name],
    "t-inst@foo.service",
    "t-inst@a-b\\x2dc.service",
    "t-inst@own.service",
    "t-a-b-c@x-y.service",
]


class Both(NamedTuple):
    """A unit as we read it, as systemd shows it, and what its commands were given."""

    ours: Unit
    shown: dict[str, str]
    runs: list[tuple[list[str], dict[str, str]]]


@pytest.fixture(scope="module")
def units(lab: Lab) -> Iterator[Lab]:
    """A lab with all these units."""
    etc, usr = lab.root / "etc/systemd/system", lab.root / "usr/lib/systemd/system"
    home = lab.root / "opt/tricky"
    home.mkdir()
    (home / "dump").write_text(SCRIPT)
    (home / "file").write_text(
        '# a comment\n; another\nFA=a b\nFB=\'c  d\'\nFC="x\\"y\\n$z"\nFD=con\\\ntinued\n'
        "  FE = spaced \nH=unset\nFF=back\\\\slash\\q\nFG='two\nlines'\n"
    )
    for directory, files in ((etc, UNITS), (usr, IN_USR)):
        for name, text in files.items():
            (directory / name).parent.mkdir(exist_ok=True, parents=True)
            (directory / name).write_bytes(text.encode())
    (etc / "t-alias.service").symlink_to("t-drop-in.service")
    (etc / "t-alias@.service").symlink_to("t-inst@.service")
    lab.systemctl("daemon-reload", check=True)
    yield lab
    for directory, files in ((etc, UNITS), (usr, IN_USR)):
        for name in files:
            (directory / name).unlink()
    (etc / "t-alias.service").unlink()
    (etc / "t-alias@.service").unlink()
    shutil.rmtree(home)
    lab.systemctl("daemon-reload", check=True)


@pytest.fixture(params=ASKED)
def both(units: Lab, request: pytest.FixtureRequest) -> Both:
    name = request.param
    shown = units.show(name)
    done = units.systemctl("start", name)
    assert done.returncode == 0, units.journal(name)
    (file,) = (units.root / "opt/tricky").glob("*.json")
    runs = [json.loads(line) for line in file.read_text().splitlines()]
    file.unlink()
    return Both(load_named(name, str(units.root)), shown, runs)


def test_a_unit_is_read_as_systemd_reads_it(both: Both):
    """A linter that parses its own language finds what is not there, and misses what is."""
    ours, shown = both.ours, both.shown
    root = "" if ours.tree is None else ours.tree.root
    assert ours.name.full == shown["Id"]
    assert ours.path.removeprefix(root) == shown["FragmentPath"]
    assert [path.removeprefix(root) for path in ours.dropins] == shown.get(
        "DropInPaths", ""
    ).split()
    commands = [command for command, _ in ours.commands("ExecStart")]
    env, is_all = ours.environment()
    assert is_all
    given = [
        list(command.argv) if ":" in command.prefixes else expand_words(list(command.argv), env)[0]
        for command in commands
    ]
    assert given == [argv for argv, _ in both.runs]
    for _, seen in both.runs:
        assert {name: seen.get(name) for name in env} == env


@pytest.mark.parametrize("name", ["t-alias.service", "t-alias@z.service"])
def test_an_alias_is_the_unit_that_it_leads_to(units: Lab, name: str):
    """Its drop-ins count as well, under either name."""
    ours, shown = load_named(name, str(units.root)), units.show(name)
    assert ours.name.full == shown["Id"]
    assert ours.path.removeprefix(str(units.root)) == shown["FragmentPath"]
    dropins = [path.removeprefix(str(units.root)) for path in ours.dropins]
    assert dropins == shown.get("DropInPaths", "").split()


@pytest.mark.parametrize("name", ["t-values.service", "t-lists.service", "t-sections.service",
                                  "t-drop-in.service", "t-crlf.service"])  # fmt: skip
def test_values_are_what_systemd_makes_of_them(units: Lab, name: str):
    """Defaults, resets, what is ignored: a finding is about what holds, not about what is said."""
    ours, shown = load_named(name, str(units.root)), units.show(name)
    spans = {
        "RestartUSec": ours.span("RestartSec", default=0.1),
        "StartLimitIntervalUSec": ours.span("StartLimitIntervalSec", default=10, section="Unit"),
    }
    if ours.lines("TimeoutSec"):
        start = ours.span("TimeoutStartSec", "TimeoutSec", default=90)
        spans["TimeoutStartUSec"] = start
        spans["TimeoutStopUSec"] = ours.span("TimeoutStopSec", "TimeoutSec", default=90)
    assert {key: parse_span(shown[key]) for key in spans} == spans
    flags = ("PrivateTmp", "PrivateDevices", "NoNewPrivileges")
    assert {key: ours.flag(key) for key in flags} == {key: shown[key] == "yes" for key in flags}
    texts = {
        "Type": ours.choice("Type", ("oneshot", "notify"), "simple"),
        "Restart": ours.choice("Restart", ("no", "always", "on-failure"), "no"),
        "KillMode": ours.choice("KillMode", ("mixed", "none"), "control-group"),
        "NotifyAccess": ours.choice("NotifyAccess", ("exec", "all"), shown["NotifyAccess"]),
        "ProtectSystem": ours.text("ProtectSystem", "no"),
        "OOMPolicy": ours.text("OOMPolicy", "stop"),
        "StartLimitBurst": ours.text("StartLimitBurst", "5", "Unit"),
        "User": ours.text("User"),
    }
    assert {key: shown.get(key, "") for key in texts} == texts
    for key in ("ReadWritePaths", "NoExecPaths", "ExecPaths", "SupplementaryGroups"):
        assert ours.words(key) == shlex.split(shown.get(key, ""))
    assert ours.words("StateDirectory") == shown.get("StateDirectory", "").split()
