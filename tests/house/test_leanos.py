"""`notifywrap.leanos` beside the `os` that it stands for: the same answers where it is used."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from notifywrap import leanos

ROOT = Path(__file__).resolve().parents[2]


def used() -> set[str]:
    """Every `os.NAME`, and `os.path.NAME`, of the modules that take `os` from lean.py."""
    names = set()
    for file in (ROOT / "notifywrap").rglob("*.py"):
        tree = ast.parse(file.read_text())
        takes = any(
            isinstance(node, ast.ImportFrom)
            and node.module == "notifywrap.lean"
            and any(alias.name == "os" for alias in node.names)
            for node in ast.walk(tree)
        )
        for node in ast.walk(tree) if takes else ():
            if isinstance(node, ast.Attribute):
                text = ast.unparse(node)
                if text.startswith("os.") and text.count(".") == 1 + text.startswith("os.path."):
                    names.add(text)
    return names


def test_it_has_all_that_is_used():
    """A name that is missing shows where `os` was not loaded before: in the unit, not in a test."""
    names = used()
    assert {"os.open", "os.path.exists", "os.environ"} <= names
    for name in names:
        found = leanos
        for word in name.split(".")[1:]:
            assert hasattr(found, word), f"leanos lacks {name}"
            found = getattr(found, word)


def test_what_is_the_kernels_is_the_same_function():
    """Most of `os` is the C module `posix`: there is nothing to get wrong."""
    for name in used():
        word = name.removeprefix("os.")
        if "." not in word and word not in leanos.__all__:
            assert getattr(leanos, word) is getattr(os, word)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "/etc/", "/", "//", "a", "a/b", "", "/a", "a//b", "//a//b"]
)
def test_names_are_taken_apart_alike(name: str):
    """A preset is found by the last part of the command."""
    assert leanos.path.basename(name) == os.path.basename(name)
    assert leanos.path.dirname(name) == os.path.dirname(name)
    for directory in ("", "/", "/usr/bin", "bin/"):
        assert leanos.path.join(directory, name) == os.path.join(directory, name)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "/etc", "/nowhere", "/dev/null", "a\0b", "/etc/passwd/x"]
)
def test_files_are_told_apart_alike(name: str):
    for question in ("exists", "isdir", "isfile"):
        assert getattr(leanos.path, question)(name) == getattr(os.path, question)(name)


@pytest.mark.parametrize("text", ["plain", "ü", "\udcff"])
def test_text_and_bytes_are_turned_alike(text: str):
    """An argument that is no UTF-8 goes through unchanged."""
    assert leanos.fsencode(text) == os.fsencode(text)
    assert leanos.fsdecode(os.fsencode(text)) == text


def test_the_environment_is_the_one_it_was_given():
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from notifywrap.lean import os as lean\n"
        "assert 'os' not in sys.modules\n"
        "import os\n"
        "assert lean is not os and lean.environ == dict(os.environ), lean.environ\n"
    )
    env = {"A": "b", "EMPTY": "", "BYTES": "\udcff"}
    subprocess.run([sys.executable, "-I", "-S", "-c", code], env=env, check=True)


@pytest.mark.parametrize("kind", ["found", "second", "missing", "forbidden", "slash", "no PATH"])
def test_a_command_is_looked_for_alike(kind: str, tmp_path: Path):
    """What cannot be executed is said in words that depend on the errno."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    command = "tool"
    if kind in ("found", "second", "slash"):
        tool = tmp_path / ("one" if kind == "found" else "two") / "tool"
        tool.write_text("#!/bin/sh\necho $0 $1\n")
        tool.chmod(0o755)
        command = str(tool) if kind == "slash" else command
    elif kind == "forbidden":
        (tmp_path / "one/tool").mkdir()
    env = {"PATH": f"{tmp_path}/none:{tmp_path}/one:{tmp_path}/two"}
    if kind == "no PATH":
        command, env = "true", {}

    def outcome(module: str) -> tuple[str, int]:
        code = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
            f"from notifywrap import leanos\nimport os\n"
            f"try: {module}.execvpe({command!r}, [{command!r}, 'x'], {env!r})\n"
            "except OSError as error: print(type(error).__name__, error.errno)"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
        )
        assert not done.stderr
        return done.stdout, done.returncode

    assert outcome("leanos") == outcome("os")
