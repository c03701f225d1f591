"""One bad unit a pitfall, and the same unit put right: exactly that is found, then nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from notifywrap.cli.check import understand
from notifywrap.unitfile.rules import RULES, lint
from notifywrap.unitfile.unit import load_path

CORPUS = Path(__file__).parent / "corpus"
CASES = sorted(path.name for path in CORPUS.iterdir())
# The comment above the line that the finding is about.
MARK = re.compile(r"^# (error|warning|hint): ([\w-]+)$", re.MULTILINE)


@pytest.mark.parametrize("case", CASES)
def test_the_pitfall_is_found_and_nothing_else(case: str):
    """A finding that is one of many is not read."""
    path = CORPUS / case / "bad.service"
    text = path.read_text()
    mark = MARK.search(text)
    assert mark is not None, f"{path} does not say what is wrong with it"
    line = text[: mark.start()].count("\n") + 2
    found = lint(load_path(str(path)), understand)
    seen = [(each.severity.value, each.rule, each.path, each.line) for each in found]
    assert seen == [(mark[1], mark[2], str(path), line)], found


@pytest.mark.parametrize("case", CASES)
def test_the_unit_put_right_has_no_finding(case: str):
    """What the fix says must be what the rule wants."""
    found = lint(load_path(str(CORPUS / case / "fixed.service")), understand)
    assert found == []


def test_every_rule_has_a_bad_unit():
    """A rule that never finds anything may as well not be there."""
    texts = [(CORPUS / case / "bad.service").read_text() for case in CASES]
    seen = {mark[2] for text in texts for mark in MARK.finditer(text)}
    # A group of system calls is unknown to an older systemd only: see test_tree.py.
    assert {rule.name for rule in RULES} - seen == {"unknown-group"}
