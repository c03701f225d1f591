"""What can be seen of a service while it runs: its processes, sockets and log."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

from notifywrap.probes.sockets import open_sockets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "find_backlogs",
    "find_child",
    "find_code",
    "find_denials",
    "find_last_words",
    "find_pids",
    "find_warnings",
    "has_named_socket",
    "measure",
    "read_log",
]

_HIERARCHIES = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
_MOST_LINES, _LOG_LIMIT_S = 20_000, 3.0
# Said by systemd's own process before it becomes the service: DynamicUser= moves directories.
_OF_SYSTEMD = "Apparently, service previously had DynamicUser="
_MISSING = "stopped before it was ready: "
# Words of loggers for what is at least a warning, in most formats that daemons write.
_TROUBLE = re.compile(
    r"(?i)\b(warn(ing)?|wrn|error|err|fatal|ftl|critical|crit|panic|emerg|alert|denied|failed"
    r"|not permitted|cannot|unable)\b"
)
_DENIED = re.compile(
    r"(?i)operation not permitted|permission denied|read-only file system|\beperm\b|\beacces\b"
    r"|address family not supported|\bsigsys\b|no such device"
)


def find_pids(control_group: str) -> list[int]:
    """The processes of a unit, by its ControlGroup= property; below it, too."""
    found: list[int] = []
    for base in _HIERARCHIES:
        for directory, _, names in os.walk(f"{base}{control_group}"):
            if "cgroup.procs" in names:
                with open(f"{directory}/cgroup.procs", encoding="ascii") as file:
                    found += [int(line) for line in file if line.strip() != "0"]
        if found:
            break
    return found


def measure(pids: Iterable[int]) -> tuple[int, int]:
    """(threads, bytes of resident memory) of all of them."""
    threads = size = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
                facts = dict(line.split(":", 1) for line in file if ":" in line)
        except OSError:
            continue  # it has ended
        threads += int(facts.get("Threads", "0"))
        size += int(facts.get("VmRSS", "0 kB").split()[0]) * 1024
    return threads, size


def find_code(pids: Iterable[int]) -> tuple[str, ...]:
    """The files that these processes have mapped to be executed."""
    found = set()
    for pid in pids:
        try:
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
                fields = [line.rstrip("\n").split(None, 5) for line in file]
        except OSError:
            continue  # it has ended
        found |= {each[5] for each in fields if len(each) == 6 and "x" in each[1]}
    return tuple(sorted(path for path in found if path.startswith("/") and os.path.exists(path)))


def find_backlogs(pids: Iterable[int]) -> tuple[tuple[str, int], ...]:
    """The queue of each TCP socket that these processes listen on, as `ss -ltn` shows it.

    Empty for a service in a network namespace of its own: the sockets here are not its.
    """
    inodes = {inode for pid in pids for inode in _socket_inodes(pid)}
    sockets = open_sockets()
    try:
        listeners = [one for one in sockets.tcp_listeners() if one.inode in inodes]
    finally:
        sockets.close()
    found = {f"{_bracket(one.host)}:{one.port}": one.limit for one in listeners}
    return tuple(sorted(found.items()))


def find_child(pid: int) -> int:
    """The first that a process has started of those that still run; itself when there is none."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return int((file.read().split() or [str(pid)])[0])
    except OSError:
        return pid  # it has ended


def has_named_socket(pids: Iterable[int]) -> bool:
    """Has one of them an AF_UNIX socket with a name? Pairs and clients have none."""
    inodes = {str(inode) for pid in pids for inode in _socket_inodes(pid)}
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        lines = [line.split() for line in file]
    return any(len(fields) > 7 and fields[6] in inodes for fields in lines)


def read_log(unit: str, since: float) -> list[str]:
    """What the unit has said since then (a time of day), in order; the last of it, if that is a
    lot. systemd's own lines about it are left out."""
    words = [f"--since=@{since:.6f}", f"--lines={_MOST_LINES}", f"_SYSTEMD_UNIT={unit}"]
    _journalctl("--sync")
    lines = _journalctl("-q", "--no-pager", "-o", "cat", *words).splitlines()
    return [line for line in lines if not line.startswith(_OF_SYSTEMD)]


def _journalctl(*words: str) -> str:
    """What it says; of a service that never stops talking what has been said by then."""
    try:
        done = subprocess.run(
            ["journalctl", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LOG_LIMIT_S,
            check=False,
        )
        out = done.stdout
    except subprocess.TimeoutExpired as error:
        out = error.stdout or b""
    return out.decode("utf-8", "replace")


def find_warnings(lines: Iterable[str]) -> tuple[str, ...]:
    """Those that tell of trouble."""
    return tuple(line for line in lines if _TROUBLE.search(line))


def find_denials(lines: Iterable[str]) -> tuple[str, ...]:
    """Those that say that something was not allowed."""
    return tuple(dict.fromkeys(line.strip() for line in lines if _DENIED.search(line)))


def find_last_words(lines: Sequence[str]) -> str:
    """The line that tells most of why it has ended: the last that says that something was not
    allowed, or tells of trouble, or the last at all; those of notifywrap only if there are no
    others, or when it says what it has waited for in vain."""
    plain = [line.strip() for line in lines if line.strip()]
    own = [line for line in plain if not line.startswith("notifywrap:")]
    missing = [line for line in plain if _MISSING in line]
    if missing:
        return missing[-1].removeprefix("notifywrap: ")
    for pattern in (_DENIED, _TROUBLE, re.compile("")):
        found = [line for line in own if pattern.search(line)]
        if found:
            return found[-1]
    return plain[-1].removeprefix("notifywrap: ") if plain else ""


def _socket_inodes(pid: int) -> set[int]:
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                link = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if link.startswith("socket:["):
                found.add(int(link[8:-1]))
    except OSError:
        pass  # it has ended
    return found


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
