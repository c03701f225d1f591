"""The rules of the house, read from the source: who may import whom, and how long things get."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "notifywrap"
MODULES = sorted(path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py"))

MAX_FILE, MAX_FUNCTION = 350, 50  # lines

# The part of the house that each module lives in, and the parts that it may import from.
# Nearly all of it reads downwards: 0 protocol, 1 policy, 2 probes and runtime, 3 cli.
ALLOWED = {
    "root": {"root"},  # errors.py, lean.py, __init__.py: the ground
    "protocol": {"root", "protocol"},
    "policy": {"root", "policy"},
    "probes": {"root", "protocol", "policy", "probes"},
    "runtime": {"root", "protocol", "policy", "probes", "runtime"},
    "testing": {"root", "protocol", "policy", "probes", "runtime", "testing"},
    "cli": {
        *("root", "protocol", "policy", "probes", "runtime", "unitfile", "drill", "harden", "cli")
    },
    "drill": {"root", "policy", "runtime", "unitfile", "drill"},
    "harden": {"root", "probes", "unitfile", "drill", "harden"},
    "unitfile": {"root", "policy", "unitfile"},
    "daemon": {"root", "protocol", "daemon"},  # for daemons written in Python
}
# The exceptions, each with its reason.
ALSO_ALLOWED = {
    ("notifywrap/__init__.py", "daemon"),  # what `import notifywrap` offers, loaded on first use
    ("notifywrap/aio.py", "daemon"),  # ... and its other doors
    ("notifywrap/gunicorn.py", "daemon"),
    ("notifywrap/compat/daemon.py", "protocol"),
    ("notifywrap/compat/sdnotify.py", "protocol"),
    ("notifywrap/__main__.py", "cli"),  # `python -m notifywrap` is the door itself
    ("notifywrap/cli/try_.py", "testing"),  # `notifywrap try` runs the stand-in for systemd
    ("notifywrap/cli/tryview.py", "testing"),  # ... and shows what it did
    ("notifywrap/cli/inlab.py", "testing"),  # `--lab` boots a systemd
    ("notifywrap/testing/ownprocess.py", "daemon"),  # makes its functions look around anew
}
# What the pure floor may use of the standard library: nothing that knows the time or the world.
PURE = {"__future__", "math", "re", "shlex"}
ONLY_FOR_TYPES = {"typing", "collections"}


class Import(NamedTuple):
    """One import statement's module."""

    name: str
    line: int
    for_types: bool  # under `if TYPE_CHECKING:`, so not there at run time


def part_of(module: str) -> str:
    """`notifywrap.policy.spec` lives in policy, `notifywrap.errors` in the root."""
    words = module.split(".")
    return words[1] if len(words) > 1 and words[1] in ALLOWED else "root"


def imports_of(path: Path) -> list[Import]:
    found = []

    def visit(node: ast.AST, for_types: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for_types = True
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports here are absolute"
            # `from notifywrap.policy import spec` imports a module: name it in full.
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = (PACKAGE.parent / full.replace(".", "/")).with_suffix(".py").exists()
                found.append(
                    Import(full if is_module else str(node.module), node.lineno, for_types)
                )
        for child in ast.iter_child_nodes(node):
            visit(child, for_types)

    visit(parse(path), for_types=False)
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse((PACKAGE.parent / path).read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_down(path):
    """A decision that needs the world, or I/O that decides, shows as an import upwards."""
    here = part_of(name_of(path))
    for imported in imports_of(path):
        if imported.name.split(".")[0] == "notifywrap":
            there = part_of(imported.name)
            allowed = there in ALLOWED[here] or (str(path), there) in ALSO_ALLOWED
            assert allowed, f"{path}:{imported.line}: {here} must not import {imported.name}"


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[1] == "policy"], ids=str)
def test_policy_is_pure(path):
    """Decisions are tested in virtual time: a clock or a socket in there, and they are not."""
    for imported in imports_of(path):
        top = imported.name.split(".")[0]
        if top == "notifywrap":
            assert part_of(imported.name) in ("root", "policy")
        else:
            allowed = PURE | ONLY_FOR_TYPES if imported.for_types else PURE
            assert top in allowed, f"{path}:{imported.line}: policy must not import {imported.name}"
    names = {node.id for node in ast.walk(parse(path)) if isinstance(node, ast.Name)}
    assert not names & {"open", "print", "input", "exec", "eval"}, f"{path} does I/O"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_the_declared_dependency_is_imported(path):
    """The rest is optional: imported where it is used, so that its absence hurts nobody."""
    at_top = {
        imported.name.split(".")[0]
        for node in parse(path).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for imported in imports_of(path)
        if imported.line == node.lineno
    }
    foreign = at_top - set(sys.stdlib_module_names) - {"notifywrap", "psutil"}
    if path.name in ("plugin.py", "report.py") and path.parts[1] == "testing":
        foreign -= {"pytest"}  # which alone imports them
    assert not foreign, f"{path} imports {foreign} at its top"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_one_idea_per_file(path):
    """Past these lengths nobody reads a thing in one go."""
    lines = (PACKAGE.parent / path).read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_FILE, f"{path} has {lines} lines"
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{path}:{node.lineno}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_says_what_it_is_and_what_it_offers(path):
    """The docstring is the promise, `__all__` the door; all else may change without notice."""
    tree = parse(path)
    assert ast.get_docstring(tree), f"{path} has no docstring"
    if path.name.startswith("_") and path.name not in ("__init__.py", "__main__.py"):
        return  # private
    targets = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    ]
    assert "__all__" in targets, f"{path} has no __all__"
