"""`notifywrap check` from outside: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from notifywrap.cli.check import main

CORPUS = Path(__file__).resolve().parents[1] / "unitfile/corpus"


def test_a_finding_is_one_line_with_its_place_and_its_fix(capfd: pytest.CaptureFixture[str]):
    """What an editor jumps to, and what the reader then types."""
    path = CORPUS / "kill-mode-process/bad.service"
    assert main([str(path)]) == 1
    (line,) = capfd.readouterr().out.splitlines()
    assert line.startswith(f"{path}:11: warning: KillMode=process: ")
    assert line.endswith("; write KillMode=mixed [kill-mode]")


@pytest.mark.parametrize(
    ("case", "status"),
    [("kill-mode-process/fixed", 0), ("root/bad", 0), ("gives-up/bad", 1), ("pipe/bad", 1)],
)
def test_the_exit_status_says_whether_something_must_be_done(case: str, status: int):
    """Hints are for reading: a check in a pipeline must not stop for them."""
    assert main([str(CORPUS / f"{case}.service")]) == status


def test_json_has_every_finding_of_every_unit(capfd: pytest.CaptureFixture[str]):
    """For programs, an empty list for none."""
    paths = [str(CORPUS / f"{case}/bad.service") for case in ("root", "pipe")]
    assert main(["--json", *paths]) == 1
    found = json.loads(capfd.readouterr().out)
    assert [(each["unit"], each["rule"], each["severity"]) for each in found] == [
        (paths[0], "root", "hint"),
        (paths[1], "pipe-forbidden", "error"),
    ]
    assert {"file", "line", "text", "fix"} <= set(found[0])
    assert main(["--json", str(CORPUS / "root/fixed.service")]) == 0
    assert json.loads(capfd.readouterr().out) == []


def test_a_unit_that_cannot_be_read_hides_no_other(capfd: pytest.CaptureFixture[str]):
    """`notifywrap check /etc/systemd/system/*.service`, and one of them leads nowhere."""
    pipe = str(CORPUS / "pipe/bad.service")
    assert main(["./nowhere.service", pipe]) == 2
    seen = capfd.readouterr()
    assert "./nowhere.service: cannot be read" in seen.err
    assert seen.out.startswith(f"{pipe}:")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no unit given"),
        (["./nowhere.service"], "./nowhere.service: cannot be read"),
        (["--root", "/nowhere", "x"], "--root: '/nowhere' is not a directory"),
        (["--jsn", "x"], "--jsn: unknown option (did you mean --json?)"),
    ],
)
def test_misuse_is_one_line(words: list[str], said: str, capfd: pytest.CaptureFixture[str]):
    """And status 2, so that it is not taken for a finding."""
    assert main(words) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
