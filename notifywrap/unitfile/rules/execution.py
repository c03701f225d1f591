"""NoExecPaths= and ExecPaths=: what must run and may not, what must not and may."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from notifywrap.unitfile.findings import About, Found, Rule, Severity
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
    if not noexec_everywhere(unit):
        return
    where = "ExecPaths" if unit.lines("ExecPaths") else "NoExecPaths"
    programs = dict.fromkeys(_programs(subject))
    for path in programs:
        if not _may_run(subject, path):
            text = f"ExecPaths= does not cover {path}: 203/EXEC, or exit status 126"
            yield Found(where, text, f"add {path} to ExecPaths=", Severity.ERROR)
    if not any(_may_run(subject, path) for path in _LIBRARIES):
        yield Found(
            where,
            "ExecPaths= does not cover /usr/lib: the dynamic loader and the libraries cannot be"
            " executed",
            "add /usr/lib to ExecPaths= (and /lib with RootDirectory=)",
            Severity.ERROR,
        )
    names = [*programs, *listed(unit, "ExecPaths")]
    if subject.is_ours and not any(_is_python(path) for path in names):
        yield Found(
            where,
            "ExecPaths= has no interpreter: notifywrap is a Python program",
            "add /usr/bin/python3 to ExecPaths=",
            Severity.ERROR,
        )


def _is_python(path: str) -> bool:
    return posixpath.basename(path).startswith("python") or path in ("/usr", "/usr/bin", "/bin")


def _may_run(subject: Subject, path: str) -> bool:
    """Does ExecPaths= cover it? systemd follows the symlinks in there, and so does exec."""
    allowed = listed(subject.unit, "ExecPaths")
    tree = subject.unit.tree
    if covers(allowed, path):
        return True
    return tree is not None and covers(map(tree.real, allowed), tree.real(path))


def _programs(subject: Subject) -> list[str]:
    """Absolute paths of what the unit executes, interpreters included where they can be read."""
    found = [command.path for command, _ in subject.starts]
    if subject.run is not None:
        found.append(subject.run.program)
    found += subject.target[:1]
    tree = subject.unit.tree
    found = [path for path in found if path.startswith("/")]
    if tree is None:
        return found
    return [*found, *(each for path in found for each in _interpreters(tree.real(path)))]


def _interpreters(file: str) -> list[str]:
    """What stands behind #! in a script."""
    try:
        with open(file, "rb") as opened:
            first = opened.readline(256)
    except OSError:
        return []
    words = first[2:].decode("utf-8", "surrogateescape").split() if first[:2] == b"#!" else []
    if words[:1] == ["/usr/bin/env"] and len(words) > 1:
        return [words[0], f"/usr/bin/{words[1]}"]
    return words[:1]


RULES = (
    Rule("writable-executable", About.ANY, writable_and_executable, is_advice=True),
    Rule("root-noexec", About.ANY, root_directory, is_advice=True),
    Rule("exec-paths", About.ANY, exec_paths),
)
