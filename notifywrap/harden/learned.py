"""What is made of what was seen of a service: paths that a sandbox has to leave to it. Pure.

Files are taken for what they stand for: who reads /etc/web/site.conf reads /etc/web. That makes
the result the same when it is found once more, and lets the service do a little more than what was
seen of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from notifywrap.harden.model import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from notifywrap.harden.model import Process

__all__ = ["SETTINGS", "add_usage", "generalise", "read_usage"]

# What the C library, resolvers and TLS read, whether or not an exercise has led there.
SETTINGS = (
    *("/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf"),
    *("/etc/localtime", "/etc/services", "/etc/protocols", "/etc/mime.types", "/etc/ssl"),
    *("/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/share/zoneinfo"),
)
# How many names of a path say what it is for; the longest prefix counts. 0: not to be learned,
# systemd or the kernel provides it, or each service has its own.
_NAMES = (
    ("/", 2),
    *[(path, 0) for path in ("/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/dev/shm")],
    *[(path, 1) for path in ("/lib", "/lib32", "/lib64")],
    *[(path, 2) for path in ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec")],
    ("/usr", 3),
    *[(path, 9) for path in ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin")],
    ("/var", 3),
)
_LOADER = re.compile(r"/ld-[^/]*$|/ld\.so[^/]*$")
_PLAIN = re.compile(r"[\w./@+-]+")  # needs no quoting anywhere, and no thought


def read_usage(
    processes: Iterable[Process], main: int, target: int, without: Sequence[str] = ()
) -> Usage:
    """What these processes come to.

    main, target  pids of the main process and of the target, which may be one
    without       its own directories, and the copies that stand for them
    """
    known = {
        each.pid: each._replace(
            opened=tuple(path for path in each.opened if not _is_in(f"{path}/", without))
        )
        for each in processes
    }
    own = [each for each in known.values() if _is_below(each.pid, known, main, target)]
    programs = {path for each in own if each.pid != target for path in each.executed}
    programs -= set(known[target].executed) if target in known else set()
    used = {path for each in known.values() for path in (*each.opened, *each.executed)}
    return Usage(
        tuple(sorted(used)),
        tuple(sorted({path for each in own for path in (*each.opened, *each.executed)})),
        tuple(sorted(path for path in programs if not _LOADER.search(path))),
        any(each.pid != target for each in own),
    )


def add_usage(one: Usage, other: Usage) -> Usage:
    """What was seen in either."""
    return Usage(
        tuple(sorted({*one.opened, *other.opened})),
        tuple(sorted({*one.own, *other.own})),
        tuple(sorted({*one.programs, *other.programs})),
        one.forks or other.forks,
        one.has_unix or other.has_unix,
    )


def generalise(paths: Iterable[str], without: Sequence[str] = ()) -> tuple[str, ...]:
    """The files and directories that have all of *paths* in them, but for those in *without*."""
    found = set()
    for path in paths:
        if any(path == each or path.startswith(f"{each}/") for each in without):
            continue
        if _PLAIN.fullmatch(path):
            found.add(_shorten(path))
    found -= {"", "/", "/usr", "/etc", "/var", "/var/lib", "/run", "/srv", "/opt", "/home"}
    return tuple(sorted(path for path in found if not _is_in(path, found)))


def _shorten(path: str) -> str:
    fitting = [
        (len(prefix), count)
        for prefix, count in _NAMES
        if prefix == "/" or path == prefix or path.startswith(f"{prefix}/")
    ]
    count = max(fitting)[1]
    names = path.split("/")[1:]
    return f"/{'/'.join(names[:count])}" if count else ""


def _is_in(path: str, others: Iterable[str]) -> bool:
    return any(path.startswith(f"{each}/") for each in others)


def _is_below(pid: int, known: dict[int, Process], main: int, target: int) -> bool:
    """The target or what it has started; not what notifywrap starts beside it, its probes."""
    seen = set()
    while pid != target and pid in known and pid not in seen:
        seen.add(pid)
        if pid == main or (known[pid].parent == main and main != target):
            return False
        pid = known[pid].parent
    return True
