"""Variables as systemd sets them and puts them into commands: tables, and what chance makes up."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from notifywrap.unitfile.envfile import parse_environment_file
from notifywrap.unitfile.unit import load_named
from notifywrap.unitfile.words import expand_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Lab

pytestmark = pytest.mark.systemd

SCRIPT = """\
import json, os
argv = open("/proc/self/cmdline", "rb").read().decode("utf-8", "surrogateescape").split("\\0")[:-1]
with open(f"/opt/variables/{os.environ['UNIT']}.json", "a") as file:
    file.write(json.dumps([argv, dict(os.environ)]) + "\\n")
"""
DUMP = "/usr/bin/python3 -IS /opt/variables/dump"
FILES = {
    "two-quoted": 'A="--a 1" "--b"\n',
    "comment-behind": 'A="--a" # why\nB=1 # why\n',
    "bare-behind-quoted": "A=\"a\"x\nB='a''b' \"c\" d 'e'\n",
    "quotes-inside": "A=--x='a b'\n",
    "not-closed": 'A="a b\nB=1\n',
    "not-closed-single": "A='a\nB=1\n",
    "regular-expression": "A='^foo\\.bar$'\nB=^foo\\.bar$\n",
    "apostrophe": 'A="it\'s"\n',
    "escapes": 'A="x\\$y\\`z\\q\\"w\\\nv"\nB=a\\ b\\nc\\\nd\n',
    "comment-goes-on": "# see \\\nA=1\nB=2\n",
    "comment-with-a-quote": "# it's\n;\"\nA=1\n",
    "backslash-at-the-end": "A=x\\",
    "backslash-in-quotes-at-the-end": 'A="x\\',
    "continued": "A=x  \\\n  y  \nB=x \\\n",
    "carriage-returns": "A=a\r\nB='x\ry'\r\nC=\r",
    "tabs-and-control": "A=\ta\x01b\t \nB='a\tb'\n",
    "names": "é=1\n1A=1\nA-B=1\nA B=1\nexport A=1\n=1\nA\n=b\nB\\\n=b\nC=1\n",
    "spaces": "  A  =  x y  \n\n\tB=\n",
    "equals": "A==b=c\n",
    "twice": "A=1\nA=\n",
    "bom": "\ufeffA=1\nB=2\n",
    "empty": "",
}
LINES = {
    "unknown-escape": r"A=1 B=\d C=3",
    "open-quote": 'A=1 B=2 "C=3',
    "quote-inside": 'A=1 B=x"y C=3',
    "names": "A=1 é=2 1x=3 =4 B A-B=1 C=5",
    "control": r"A=1 B=\x01 C=\n D=\t",
    "no-zero": r"A=1 B=\x00 C=2",
    "specifier-in-name": "%p=3 A%n=1 B=%n",
}
VALUES = {
    "expression": r"'A=^foo\\.bar$'",
    "apostrophe": '''"A=it's 'a b' c"''',
    "backslash-at-the-end": r"'A=a b\\'",
    "quotes": r"""A=\"a b\"c""",
}


class Home:
    """Units whose command writes down what it was given."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.path = lab.root / "opt/variables"
        self.made: list[Path] = []

    def add(self, name: str, lines: str, file: str, argument: str) -> None:
        """A unit with *lines* in it and, if it has text, a file of variables."""
        if file:
            (self.path / f"{name}.env").write_bytes(file.encode())
            lines += f"EnvironmentFile=/opt/variables/{name}.env\n"
        head = f"[Service]\nType=oneshot\n{lines}Environment=UNIT={name}\n"
        unit = self.lab.root / f"etc/systemd/system/{name}.service"
        unit.write_bytes(f"{head}ExecStart={DUMP} {argument}\n".encode())
        self.made.append(unit)

    def start(self) -> None:
        self.lab.systemctl("daemon-reload", check=True)
        self.lab.systemctl("start", *(unit.name for unit in self.made), timeout_s=120)

    def differences(self, name: str) -> dict[str, object]:
        """What systemd gave the unit's commands, and we would not have; {} for nothing."""
        path = self.path / f"{name}.json"
        runs = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        unit = load_named(f"{name}.service", str(self.lab.root))
        env, is_all = unit.environment()
        commands = [command for command, _ in unit.commands("ExecStart")]
        # What is behind a command that cannot be found is not run.
        ours = [expand_words(list(command.argv), env)[0] for command in commands][: len(runs) or 9]
        if not runs:
            refused = [
                problem for problem in unit.exec_problems() if "refuses" in problem.outcome.value
            ]
            is_ours = any(argv[0].endswith("/python3") for argv in ours[:1])
            return {"not run": ours} if is_ours and not refused and is_all else {}
        found: dict[str, object] = {}
        if ours != [argv for argv, _ in runs]:
            found["argv"] = (ours, runs)
        seen = runs[0][1]
        names = {each for each in seen if each[0] in "ABCDabx"} | set(env)
        if {each: seen.get(each) for each in names} != {each: env.get(each) for each in names}:
            found["environment"] = (env, seen)
        return found


@pytest.fixture
def home(lab: Lab) -> Iterator[Home]:
    home = Home(lab)
    home.path.mkdir()
    (home.path / "dump").write_text(SCRIPT)
    yield home
    for path in [*home.made, *home.path.iterdir()]:
        path.unlink()
    home.path.rmdir()
    lab.systemctl("daemon-reload", check=True)


def test_variables_are_what_systemd_makes_of_them(home: Home):
    """`--probe` may be in any of them, in quotes that mean something else than in a shell."""
    for name, text in FILES.items():
        home.add(f"t-file-{name}", "", text or "\n", "$A ${A} $B")
    for name, text in LINES.items():
        home.add(f"t-line-{name}", f"Environment={text}\n", "", "${A}")
    for name, text in VALUES.items():
        home.add(f"t-value-{name}", f"Environment={text}\n", "", "$A")
    home.start()
    names = [unit.stem for unit in home.made]
    assert all((home.path / f"{name}.json").exists() for name in names)
    assert {name: found for name in names if (found := home.differences(name))} == {}


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_comment_went_on_behind_a_backslash_before_systemd_254(
    lab_of: Callable[[str], Lab], suite: str
):
    """The same file says less there."""
    lab = lab_of(suite)
    text = "# see \\\nA=1\n"
    (lab.root / "opt/comment").write_text(text)
    unit = "[Service]\nType=oneshot\nEnvironmentFile=/opt/comment\nExecStart=/bin/echo a-${A}-z\n"
    lab.install("t-comment.service", unit)
    lab.systemctl("start", "t-comment.service", check=True)
    value = parse_environment_file(text, lab.version).get("A", "")
    assert f"a-{value}-z" in lab.journal("t-comment.service").splitlines()
    assert value == ("" if lab.version < 254 else "1")


# fmt: off
ATOMS = [
    "a", "b", "x", "A", "B", "'", '"', "\\", "\\\\", " ", "  ", "\t", ";", " ; ", "\\;", "$", "$$",
    "${", "}", "${A}", "$A", "$B", "${B}", "%%", "%n", "%p", "%i", "\\x41", "\\n", "\\s", "\\'",
    '\\"', "=", "#", "A=", "B=", "-", "@", "/", "\\u00e4", "\\101", "é", "\\\n", " \\\n# c\n",
]
FILE_ATOMS = [
    "a", "b", "x", "'", '"', "\\", " ", "\t", ";", "#", "$", "=", "\n", "A=", "B=", "C=", "\nA=",
    "\nB=", "\\\n", "  ", "é", "export ", "\r",
]
# fmt: on
UNITS_A_SEED = 150


def make_up(chance: random.Random, most: int, atoms: list[str]) -> str:
    return "".join(chance.choice(atoms) for _ in range(chance.randint(0, most)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_is_written_is_read_as_systemd_reads_it(home: Home, seed: int):
    """Nobody thinks of all that people write; a failure names the seed and the unit."""
    chance = random.Random(seed)
    for number in range(UNITS_A_SEED):
        lines = f"Environment=A=va 'B=v b'\nEnvironment={make_up(chance, 6, ATOMS)}\n"
        file, argument = make_up(chance, 14, FILE_ATOMS), make_up(chance, 10, ATOMS)
        home.add(f"t-chance-{number}", lines, file or "\n", argument)
    home.start()
    names = [unit.stem for unit in home.made]
    assert {name: found for name in names if (found := home.differences(name))} == {}
    assert len(list(home.path.glob("*.json"))) > UNITS_A_SEED // 2, "most of them ran"
