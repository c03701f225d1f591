"""RootDirectory=: a root that is put together from pieces of the system's, and lacks one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from notifywrap.unitfile.findings import About, Found, Rule, Severity
from notifywrap.unitfile.rules.daemon import DAEMONS
from notifywrap.unitfile.sandbox import covers
from notifywrap.unitfile.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.unitfile.findings import Subject
    from notifywrap.unitfile.unit import Unit

__all__ = ["RULES"]

# Tried with systemd 252: each is needed. On x86-64 the loader is /lib64/ld-linux-x86-64.so.2, a
# symlink into /lib; elsewhere it is in /lib itself.
_LOADERS = ("/lib", "/lib64")


def root_without_loader(subject: Subject) -> Iterator[Found]:
    """The program is there, and what the kernel starts it with is not."""
    unit = subject.unit
    bound = list(_bound(unit))
    # A whole system may lie there; whoever binds the program has an empty directory.
    programs = [command.path for command, _ in subject.starts if covers(bound, command.path)]
    if not unit.text("RootDirectory") or not programs or _is_static(subject):
        return
    missing = [path for path in _LOADERS if not _has(unit, bound, path)]
    if missing:
        paths = " and ".join(missing)
        yield Found(
            "RootDirectory",
            f"RootDirectory= without {paths}: {programs[0]} is not executed, for its loader is not"
            " there: 203/EXEC",
            # "-": other processors have no /lib64.
            f"add BindReadOnlyPaths={' '.join(missing).replace('/lib64', '-/lib64')} (or symlinks"
            " in that directory)",
            Severity.WARNING if unit.tree is None else Severity.ERROR,
        )


def _is_static(subject: Subject) -> bool:
    """May its program do without a loader, as those written in Go do?"""
    known = DAEMONS.get(subject.daemon)
    return not subject.is_ours and known is not None and known.is_go


def _bound(unit: Unit) -> Iterator[str]:
    """Where BindPaths= and BindReadOnlyPaths= put something."""
    for key in ("BindPaths", "BindReadOnlyPaths"):
        for word in unit.words(key):
            source, _, more = word.lstrip("-").partition(":")
            yield more.partition(":")[0] or source


def _has(unit: Unit, bound: list[str], path: str) -> bool:
    """Is *path* in the new root, or of no use on that system?"""
    if covers(bound, path):
        return True
    if unit.tree is None:
        return False
    if not unit.tree.exists(path):
        return True
    root = Tree(unit.tree.real(unit.text("RootDirectory")))
    real = root.real(path)
    return covers(bound, real.removeprefix(root.root)) or _has_entries(real)


def _has_entries(path: str) -> bool:
    try:
        return bool(os.listdir(path))
    except OSError:
        return False


RULES = (Rule("root-without-loader", About.ANY, root_without_loader, is_advice=True),)
