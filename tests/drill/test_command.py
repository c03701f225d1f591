"""The command line, and the jail alone, which needs no systemd."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from notifywrap.cli.drill import main
from notifywrap.drill.dropped import program
from notifywrap.drill.table import ALL
from tests.runtime.jailed import without_map_files
from tests.runtime.wrapped import until


def drill(*words: str, **popen: Any) -> Any:
    command = [sys.executable, "-m", "notifywrap", "drill", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **popen)


@pytest.fixture
def static(tmp_path: Path) -> str:
    """A target that needs no loader."""
    path = tmp_path / "static"
    path.write_bytes(program())
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
def test_the_jail_alone_takes_what_it_says(static: str):
    """So that its rules can be chosen without a unit."""
    words = ("--json", "--jail=exec,nofork,nounix,nomemfd,connect=9", "--", static)
    done = drill(*words, preexec_fn=without_map_files)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    if "not enforced" in " ".join(told["remarks"]):
        pytest.skip(f"this kernel has no such Landlock: {told['remarks']}")
    found = {each["name"]: each["allowed"] for each in told["attempts"]}
    denied = ("exec dropped file in /tmp", "exec python", "exec memfd", "fork a process",
              "fork by clone3", "ld.so on a dropped file", "socket AF_UNIX", "ptrace attach",
              "connect other local port", "rw wrapper memory",
              "exec memory through map_files")  # fmt: skip
    assert not [name for name in denied if found[name]]
    assert found["start a thread"]
    assert found["write /tmp"]
    left = list(Path("/tmp").glob("notifywrap-drill-*"))
    until(lambda: not any(map(os.path.lexists, left)), "what is of other drills goes as well")


@pytest.mark.slow
def test_another_personality_hides_nothing(static: str):
    """Personality=x86 has uname(2) say i686: calls that were not found looked as if denied."""
    found = []
    for number in (0, 8):  # PER_LINUX, PER_LINUX32, see personality(2)
        done = drill(
            "--json", "--", static, preexec_fn=partial(ctypes.CDLL(None).personality, number)
        )
        told = json.loads(done.stdout)
        found.append({each["name"] for each in told["attempts"] if each["allowed"]})
    assert found[0] == found[1]
    assert "fork by clone" in found[0]


@pytest.mark.slow
def test_more_than_the_limit_is_an_error(static: str):
    """For a pipeline that must not get worse."""
    assert drill("--max-allowed", "66", "--", static).returncode == 0
    done = drill("--max-allowed=0", "--", static)
    assert done.returncode == 1
    assert " of 66 allowed (+ " in done.stdout


def test_the_list_says_what_each_attempt_does(capfd: pytest.CaptureFixture[str]):
    """Before one lets it run as root."""
    assert main(["--list", "--", "true"]) == 0
    said = capfd.readouterr().out
    for attempt in ALL:
        assert f"{attempt.name} " in said
        assert attempt.words in said
    assert f"modify own binary: {os.path.realpath('/usr/bin/true')}" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "nothing to try"),
        (["--max-allowed", "x", "--", "true"], "--max-allowed: 'x'"),
        (["--json=maybe", "--", "true"], "--json"),
        (["--jail=nonsense", "--", "true"], "'nonsense' is not a rule"),
        (["--", "no-such-command"], "'no-such-command'"),
        (["a.service", "--", "true"], "one unit at a time"),
        (["--jail", "./a.service"], "--jail: not with a unit"),
        (["./no-such.service"], "no-such.service"),
    ],
)
def test_misuse_is_one_line(words: list[str], expected: str, capfd: pytest.CaptureFixture[str]):
    """Before anything is tried."""
    assert main(words) == 2
    said = capfd.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


def test_without_systemd_it_says_what_can_be_done(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """A container is where many try it first."""
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd runs here")
    unit = tmp_path / "a.service"
    unit.write_text("[Service]\nExecStart=/usr/bin/true\n")
    assert main([str(unit)]) == 125
    assert "--lab" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.systemd
def test_a_lab_is_booted_for_it(tmp_path: Path):
    """The same, where systemd does not run."""
    unit = tmp_path / "a.service"
    unit.write_text("[Service]\nExecStart=/usr/bin/true\nUser=nobody\n")
    done = drill("--lab", "--json", "--max-allowed=10", str(unit))
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["subject"] == str(unit)
