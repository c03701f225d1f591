"""The public API as its users' tools see it: types, docstrings, and the examples of README."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from notifywrap.testing.manager import Manager

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DOORS = ("notifywrap", "notifywrap.aio", "notifywrap.compat.daemon", "notifywrap.compat.sdnotify",
         "notifywrap.gunicorn", "notifywrap.testing")  # fmt: skip


@pytest.mark.slow
def test_users_types_are_checked(tmp_path: Path):
    """Right uses pass and wrong ones are errors, with nothing but py.typed to go by."""
    (tmp_path / "user.py").write_text((ROOT / "tests/typing/user.py").read_text())
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--cache-dir=cache",
            "user.py",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stdout + done.stderr


def public() -> Iterator[tuple[str, object]]:
    """Every public name, and every public member of the classes among them."""
    for door in DOORS:
        module = importlib.import_module(door)
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isclass(found):
                yield f"{door}.{name}", found
                for member, value in vars(found).items():
                    is_ours = member in ("__init__", "__call__") or not member.startswith("_")
                    function = value.fget if isinstance(value, property) else value
                    if is_ours and isinstance(function, types.FunctionType):
                        yield f"{door}.{name}.{member}", function
            elif callable(found):
                yield f"{door}.{name}", found


PUBLIC = dict(public())


def test_public_names_are_documented():
    """help() is where somebody looks who has no README at hand."""
    special = ("__init__", "__call__")  # the class says what they do
    bare = [
        name
        for name, found in PUBLIC.items()
        if not inspect.getdoc(found) and not name.endswith(special)
    ]
    assert len(PUBLIC) > 100
    assert bare == []


def test_public_functions_are_annotated_in_full():
    """One that is not is Any, and takes everything."""
    lacking = []
    for name, found in PUBLIC.items():
        if isinstance(found, types.FunctionType):
            signature = inspect.signature(found)
            parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
            annotations = [*(p.annotation for p in parameters), signature.return_annotation]
            if inspect.Signature.empty in annotations:
                lacking.append(name)
    assert lacking == []


def examples() -> dict[str, str]:
    """README's blocks of Python that use the library, each by its first lines."""
    text = (ROOT / "README.md").read_text()
    found = {}
    for block in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", text, re.MULTILINE):
        program = textwrap.dedent(block).strip("\n")
        try:
            tree = ast.parse(program)
        except SyntaxError:
            continue
        loads = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        if any("notifywrap" in ast.unparse(node) for node in loads) and "def test_" not in program:
            found[program.partition("\n\n")[0]] = program
    return found


EXAMPLES = examples()
# What they take for granted.
BEFORE = """\
import asyncio, sys
class pool:
    is_alive = staticmethod(lambda: True)
async def read_config():
    pass
"""
AFTER = """
if "main" in globals():
    asyncio.run(main())
"""


def test_examples_are_found():
    """Or the next test runs none of them."""
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_as_a_service(name: str):
    """As printed, from READY=1 to a clean end."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{BEFORE}\n{EXAMPLES[name]}\n{AFTER}"
    with Manager([sys.executable, "-c", program], watchdog_s=5.0) as manager:
        manager.wait_ready(20)
        ended = manager.stop(20)
    assert ended is not None
    assert (ended.result, manager.watchdog_fired) == ("success", False)
