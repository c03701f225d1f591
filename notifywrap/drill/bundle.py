"""All of `inside` as one text that any Python can read from its standard input.

A service's sandbox need not show this package: it may lie in a home, or outside of RootDirectory=.
"""

from __future__ import annotations

import ast
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.drill.attempt import Context

__all__ = ["bundle"]

_ENTRY = "notifywrap.drill.inside"
_LOADER = """\
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

class Bundle(MetaPathFinder, Loader):
    def find_spec(self, name, path, target=None):
        return ModuleSpec(name, self, is_package=SOURCES[name][0]) if name in SOURCES else None

    def exec_module(self, module):
        source = SOURCES[module.__name__][1]
        exec(compile(source, f"<{module.__name__}>", "exec"), module.__dict__)

sys.meta_path.insert(0, Bundle())
"""


def bundle(context: Context, *, is_alone: bool) -> str:
    """A program that makes all attempts with what *context* tells them.

    is_alone  it is no service of systemd's
    """
    told: dict[str, Any] = {**context._asdict(), "is_alone": is_alone}
    del told["shell"]
    return (
        f"SOURCES = {_sources()!r}\n{_LOADER}"
        f"from {_ENTRY} import main\nmain({json.dumps(told)!r})\n"
    )


def _sources() -> dict[str, tuple[bool, str]]:
    """(is it a package?, its text) for each module of ours that the attempts need."""
    found: dict[str, tuple[bool, str]] = {}
    waiting = [_ENTRY]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            continue  # a name in a module, not a module
        with open(spec.origin, encoding="utf-8") as file:
            text = file.read()
        found[name] = (spec.submodule_search_locations is not None, text)
        waiting += _imports(ast.parse(text))
        waiting += [".".join(name.split(".")[:count]) for count in range(1, name.count(".") + 1)]
    return found


def _imports(node: ast.AST) -> Iterator[str]:
    """Modules of ours that are imported at run time, wherever."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        for each in node.orelse:
            yield from _imports(each)
        return
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "notifywrap":
        module = str(node.module)
        yield module
        spec = find_spec(module)
        if spec is not None and spec.submodule_search_locations is not None:
            yield from (f"{module}.{alias.name}" for alias in node.names)  # modules, some of them
    for child in ast.iter_child_nodes(node):
        yield from _imports(child)
