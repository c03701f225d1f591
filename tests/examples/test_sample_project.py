"""examples/sample_project: another project's own tests, with what is installed of notifywrap."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = REPOSITORY / "examples/sample_project"
TESTS = {
    "test_serve.py::test_what_has_waited_is_carried_before_it_is_ready",
    "test_serve.py::test_its_status_says_how_many",
    "test_process.py::test_it_pings_while_it_gets_on_and_stops_when_told_to",
    "test_process.py::test_a_hang_is_acted_on",
    "test_unit.py::test_it_carries_and_stops",
    "test_unit.py::test_a_hang_is_acted_on",
}

HANGS = {"test_process.py::test_a_hang_is_acted_on", "test_unit.py::test_a_hang_is_acted_on"}

# What a careless author does: (file, what stands there, what would, the tests that notice).
BUGS = {
    "pings without evidence": (
        "courier/__init__.py",
        'beat = watchdog.heartbeat("courier", within=PATIENCE_S)',
        "beat = lambda: None",
        HANGS,
    ),
    "is ready too early": (
        "courier/__init__.py",
        "carried = carry(inbox, outbox)",
        "carried = 0",
        {"test_serve.py::test_what_has_waited_is_carried_before_it_is_ready"},
    ),
    "stops without a word": (
        "courier/__init__.py",
        "notifywrap.stopping()",
        "pass",
        {
            "test_serve.py::test_its_status_says_how_many",
            "test_process.py::test_it_pings_while_it_gets_on_and_stops_when_told_to",
        },
    ),
    "stays down": (
        "courier.service",
        "Restart=on-failure",
        "Restart=no",
        {"test_unit.py::test_a_hang_is_acted_on"},
    ),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy, outside of this repository."""
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    return Path(shutil.copytree(PROJECT, tmp_path / "courier", ignore=ignored))


def run_its_tests(project: Path, python: Path | str) -> dict[str, str]:
    """Test -> PASSED, FAILED, ERROR or SKIPPED, by its own pytest; with *python*'s packages."""
    hidden = ("PYTHONPATH", "PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [python, "-P", "-m", "pytest", "-v", "-rs", "-W", "error"],
        cwd=project,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    print(done.stdout)
    assert re.search(r"^plugins: .*\bnotifywrap-", done.stdout, re.MULTILINE)
    return dict(re.findall(r"^tests/(\S+::\S+) ([A-Z]+)", done.stdout, re.MULTILINE))


def needs_systemd(request: pytest.FixtureRequest) -> None:
    """Skips where its tests under the real one would be skipped."""
    request.getfixturevalue("lab")


@pytest.mark.slow
@pytest.mark.systemd
def test_its_tests_pass(project: Path, request: pytest.FixtureRequest) -> None:
    """Both fixtures are there by the entry point alone, and what they say of a good daemon is true.

    Warnings are errors in there: neither the plugin nor its fixtures may cause one.
    """
    needs_systemd(request)
    assert run_its_tests(project, sys.executable) == dict.fromkeys(TESTS, "PASSED")


@pytest.mark.slow
@pytest.mark.systemd
@pytest.mark.parametrize("bug", BUGS)
def test_its_tests_find_a_bug(project: Path, request: pytest.FixtureRequest, bug: str) -> None:
    """A kit under which everything passes would be worth nothing."""
    needs_systemd(request)
    name, good, bad, noticed_by = BUGS[bug]
    text = (project / name).read_text()
    assert text.count(good) == 1
    (project / name).write_text(text.replace(good, bad))
    results = run_its_tests(project, sys.executable)
    assert {test for test, result in results.items() if result != "PASSED"} == noticed_by


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.systemd
def test_it_needs_nothing_but_what_is_installed(
    project: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """From a wheel, in a fresh virtual environment: a module that is not packaged shows here."""
    needs_systemd(request)
    source = tmp_path / "source"  # a build writes beside what it builds
    shutil.copytree(
        REPOSITORY / "notifywrap",
        source / "notifywrap",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=60)
    python = tmp_path / "venv/bin/python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, source, "pytest"], check=True, timeout=200, cwd=tmp_path)
    where = [python, "-P", "-c", "import notifywrap; print(notifywrap.__file__)"]
    said = subprocess.run(where, check=True, stdout=subprocess.PIPE, text=True, timeout=20)
    assert said.stdout.startswith(str(tmp_path / "venv"))
    assert run_its_tests(project, python) == dict.fromkeys(TESTS, "PASSED")
