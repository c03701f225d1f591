"""NoExecPaths= and ExecPaths=: what must run and may not, what must not and may."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from notifywrap.unitfile.findings import About, Found, Rule, Severity
from notifywrap.unitfile.programs import find_executed, find_interpreters
from notifywrap.unitfile.sandbox import covers, listed, noexec_everywhere, writable_mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.unitfile.findings import Subject

__all__ = ["RULES"]

_LIBRARIES = ("/usr/lib", "/lib")


def writable_and_executable(subject: Subject) -> Iterator[Found]:
    """NoExecPaths=/ does not reach the mounts that systemd makes for the service."""
    unit = subject.unit
    if not noexec_everywhere(unit) or unit.text("RootDirectory"):
        return
    named = [path for path in listed(unit, "NoExecPaths") if path != "/"]
    found = [path for path in writable_mounts(unit) if not covers(named, path)]
    if found:
        paths = " ".join(found)
        yield Found(
            "NoExecPaths",
            f"NoExecPaths=/ does not cover {paths}: mounts of their own, where a dropped file runs",
            f"write NoExecPaths=/ {paths}",
        )


def root_directory(subject: Subject) -> Iterator[Found]:
    """In a root of its own the writable paths stay executable, listed or not (systemd#39935)."""
    unit = subject.unit
    has_root = unit.text("RootDirectory") or unit.text("RootImage")
    has_jail = subject.values.get("--jail") not in (None, ["no"])
    if has_root and unit.words("NoExecPaths") and not has_jail:
        yield Found(
            "NoExecPaths",
            "with RootDirectory= NoExecPaths= has no effect on /tmp, /dev/shm and the state"
            " directory: a dropped file runs",
            "give notifywrap --jail" if subject.is_ours else "leave RootDirectory= out",
        )


def exec_paths(subject: Subject) -> Iterator[Found]:
    """Each program, its interpreter and its libraries must be executable."""
    unit = subject.unit
    if not unit.words("NoExecPaths"):
        return
    where = "ExecPaths" if unit.lines("ExecPaths") else "NoExecPaths"
    yield from _programs_not_covered(subject, where)
    if not noexec_everywhere(unit):
        return
    if not any(_may_run(subject, path) for path in _LIBRARIES):
        yield Found(
            where,
            "ExecPaths= does not cover /usr/lib: the dynamic loader and the libraries cannot be"
            " executed",
            "add /usr/lib to ExecPaths= (and /lib with RootDirectory=)",
            Severity.ERROR,
        )
    places = [place for each in find_executed(subject) for place in each.places]
    names = [path for each in places for path in (each, *find_interpreters(subject, each))]
    names += listed(unit, "ExecPaths")
    if subject.is_ours and not any(_is_python(path) for path in names):
        yield Found(
            where,
            "ExecPaths= has no interpreter: notifywrap is a Python program",
            "add /usr/bin/python3 to ExecPaths=",
            Severity.ERROR,
        )


def _programs_not_covered(subject: Subject, where: str) -> Iterator[Found]:
    """A path is named once, with the first thing that fails."""
    seen: set[str] = set()
    for each in find_executed(subject):
        running = [path for path in each.places if _may_run(subject, path)]
        name, needed = each.name, each.places
        if running:
            needed = tuple(find_interpreters(subject, running[0]))
        missing = [path for path in needed if not _may_run(subject, path)]
        if running and missing:
            name = missing[0]
        if missing and name not in seen:
            seen.add(name)
            path = name if name.startswith("/") else f"the path of {name}"
            yield Found(
                where,
                f"ExecPaths= does not cover {name}: {each.outcome}",
                f"add {path} to ExecPaths=",
                Severity.ERROR if each.is_fatal else Severity.WARNING,
            )


def _is_python(path: str) -> bool:
    return posixpath.basename(path).startswith("python") or path in ("/usr", "/usr/bin", "/bin")


def _may_run(subject: Subject, path: str) -> bool:
    """Of the paths in both lists that *path* is, or is below, the longest decides. systemd follows
    the symlinks in there, and so does exec."""
    tree = subject.unit.tree
    real = _merge_usr if tree is None else tree.real
    goal = real(path)
    longest = {"ExecPaths": -1, "NoExecPaths": -1}
    for key in longest:
        lengths = [
            len(each) for each in map(real, listed(subject.unit, key)) if covers([each], goal)
        ]
        longest[key] = max(lengths, default=-1)
    return longest["ExecPaths"] >= longest["NoExecPaths"]


def _merge_usr(path: str) -> str:
    """Where /bin and its kin are symlinks into /usr, as everywhere but on a system that is not
    looked at."""
    return f"/usr{path}" if covers(("/bin", "/sbin", "/lib", "/lib64"), path) else path


RULES = (
    Rule("writable-executable", About.ANY, writable_and_executable, is_advice=True),
    Rule("root-noexec", About.ANY, root_directory, is_advice=True),
    Rule("exec-paths", About.ANY, exec_paths),
)
