"""A root directory with nothing in it but what the service was seen to use. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.harden.learned import SETTINGS, generalise
from notifywrap.harden.model import Candidate, Setting, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from notifywrap.harden.model import Usage

__all__ = ["KEY", "NAME", "about_root", "name_root", "offer_root"]

NAME = "RootDirectory"
KEY = "RootDirectory"
# Loaders and libraries, under all the names that they go by; a merged /usr has links there.
_LIBRARIES = ("/usr/lib", "-/usr/lib32", "-/usr/lib64", "-/lib", "-/lib32", "-/lib64")
_LOADERS = ("-/etc/ld.so.cache", "-/etc/ld.so.conf", "-/etc/ld.so.conf.d", "-/etc/alternatives")
_ALL = ("/usr", "-/lib", "-/lib32", "-/lib64", "-/bin", "-/sbin", "/etc")
_EXECUTED = ("-/usr/lib64", "-/lib", "-/lib64")
_OF_SYSTEMD = ("/run/systemd", "/run/credentials", "/run/notifywrap-harden")


def name_root(unit: str) -> str:
    """Where the empty directory is. Beside the unit, as it belongs to nothing else."""
    return f"/etc/systemd/system/{unit}.root"


def about_root(unit: str) -> str:
    """The text of the file that is in it, as a directory cannot be given out without one."""
    return f"The root directory of {unit}: empty but for the mount points that systemd makes.\n"


def offer_root(
    unit: str,
    usage: Usage,
    *,
    programs: Sequence[str],
    writes: Sequence[str],
    runtime: Sequence[str],
    writable: Iterable[str],
) -> Candidate:
    """First with the files that it uses alone, then with all of /usr and /etc.

    programs  that its unit names
    writes    paths that it may write to, beside the directories that systemd makes for it
    runtime   its directories in /run, which many programs look for in /var/run: no link in there
    writable  mounts of its own: NoExecPaths= has to name them anew, as those in the root
    """
    learned = generalise(usage.opened, without=[*_OF_SYSTEMD, *writes])
    named = [f"-{path}" for path in dict.fromkeys((*programs, *SETTINGS, *learned))]
    narrow = [*_LIBRARIES, *_LOADERS, *named]
    wide = [*_ALL, *[f"-{path}" for path in (*programs, *learned)]]
    noexec = " ".join(f"-+{path.lstrip('-')}" for path in writable)
    tiers = []
    for paths in (narrow, wide):
        lines = [
            Setting(KEY, name_root(unit)),
            Setting("MountAPIVFS", "yes"),
            *[Setting("BindReadOnlyPaths", " ".join(each)) for each in _rows(_top(paths))],
            *[Setting("BindPaths", f"-{path}") for path in writes],
            *[Setting("BindPaths", f"-/run/{name}:/var/run/{name}") for name in runtime],
            *([Setting("NoExecPaths", noexec)] if noexec else []),
            Setting("ExecPaths", " ".join(_EXECUTED)),
        ]
        tiers.append(Tier(tuple(lines)))
    why = "of the file system it sees what it uses, and nothing else"
    return Candidate(NAME, why, tuple(tiers), is_risky=True)


def _top(paths: Sequence[str]) -> list[str]:
    """Without what is below another of them."""
    plain = {path.lstrip("-"): path for path in reversed(paths)}  # the first of two counts
    return [
        path
        for name, path in reversed(plain.items())
        if not any(name.startswith(f"{other}/") for other in plain)
    ]


def _rows(paths: Sequence[str], length: int = 6) -> list[Sequence[str]]:
    return [paths[start : start + length] for start in range(0, len(paths), length)]
