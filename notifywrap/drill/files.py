"""Attempts on files: what can be read, written and made. What is made is removed at once.

Existing files are opened for writing and not written to; nothing is truncated.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import partial

from notifywrap.drill.attempt import Attempt, Context, denied

__all__ = ["ATTEMPTS", "DROPS", "PLACES", "make_file", "sweep", "writable_directory"]

DROPS = ("/tmp", "/var/tmp", "/dev/shm")
PLACES = ("/etc", "/run", "/usr/local/bin", "/var/lib")
_BUSY = (errno.ETXTBSY,)  # it runs just now: the kernel has found that we may write it


def make_file(context: Context, directory: str, contents: bytes = b"", mode: int = 0o600) -> str:
    """A new file; the caller removes it."""
    path = context.new_file(directory)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(fd, contents)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    return path


def writable_directory(context: Context) -> str:
    """Where something can be dropped. Raises the last refusal when there is no such place."""
    refusal = denied(errno.EACCES)
    for directory in (*DROPS, context.state):
        try:
            os.unlink(make_file(context, directory))
        except OSError as error:
            refusal = error
        else:
            return directory
    raise refusal


def sweep(context: Context, pid: int) -> None:
    """Remove what the attempt in process *pid* could not: it was killed, or became a program."""
    for directory in (*DROPS, *PLACES, context.state, os.path.dirname(context.configuration)):
        try:
            os.unlink(f"{directory}/{context.tag}-{pid}")
        except OSError:
            pass  # not there; or nothing that whoever made it could remove either
    try:
        os.rmdir(f"{_own_cgroup()}/{context.tag}-{pid}")
    except OSError:
        pass


def _read(path: str, _: Context) -> None:
    with open(path, "rb", buffering=0) as file:
        if not file.read(1):
            raise denied(errno.EACCES)  # some of /proc can be opened, and says nothing


def _write(path: str, _: Context) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        # The kernel looks whether it runs before it looks whether its mount is read-only.
        if error.errno in _BUSY and os.statvfs(path).f_flag & os.ST_RDONLY:
            raise denied(errno.EROFS) from None
        raise


def _make(directory: str, context: Context) -> None:
    os.unlink(make_file(context, directory))


def _list_root(context: Context) -> None:
    _list("/root", context.root_entries)


def _list_home(context: Context) -> None:
    _list("/home", context.home_entries)


def _list(directory: str, outside: int) -> None:
    if not os.listdir(directory) and outside:
        raise denied(errno.ENOENT)  # an empty stand-in, and nothing of what is really there


def _write_configuration(context: Context) -> None:
    _write(context.configuration or "/nonexistent", context)


def _write_binary(context: Context) -> None:
    _write(context.binary, context)


def _write_state(context: Context) -> None:
    _make(context.state, context)


def _write_state_file(context: Context) -> None:
    if context.state_file:
        _write(context.state_file, context)
    else:
        _make(os.path.dirname(context.configuration) or context.state, context)


def _see_host_tmp(context: Context) -> None:
    os.stat(context.host_file)


def _open_disk(context: Context) -> None:
    _open_any([f"/dev/{name}" for name in context.disks])


def _open_any(paths: list[str], flags: int = os.O_RDONLY) -> None:
    """Raises the first refusal when none can be opened, ENOENT when none is there."""
    refusals = []
    for path in paths:
        try:
            os.close(os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK))
        except OSError as error:
            refusals.append(error)
        else:
            return
    refusals.sort(key=lambda error: error.errno == errno.ENOENT)
    raise refusals[0] if refusals else denied(errno.ENOENT)


def _write_proc_sys(_: Context) -> None:
    _open_any(["/proc/sys/kernel/core_pattern", "/proc/sys/net/ipv4/ip_forward"], os.O_WRONLY)


def _own_cgroup() -> str:
    """Its directory. cgroups(7): one line "0::/path" for version 2, also where 1 is there too."""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        path = next((line[3:].strip() for line in file if line.startswith("0::")), "/")
    for mount in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if os.path.isdir(mount + path):
            return mount + path
    return "/sys/fs/cgroup"


def _write_cgroup(context: Context) -> None:
    _write(f"{_own_cgroup()}/cgroup.procs", context)


def _make_cgroup(context: Context) -> None:
    path = context.new_file(_own_cgroup())
    os.mkdir(path)
    os.rmdir(path)


def _make_node(context: Context) -> None:
    path = context.new_file(writable_directory(context))
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 255))  # a loop device that nobody has
    os.unlink(path)


def _make_setuid(context: Context) -> None:
    path = make_file(context, writable_directory(context))
    try:
        os.chmod(path, 0o4700)
        if not os.stat(path).st_mode & stat.S_ISUID:
            raise denied(errno.EPERM)
    finally:
        os.unlink(path)


def _list_journal(_: Context) -> None:
    homes = [f"{top}/log/journal" for top in ("/run", "/var")]
    machines = [
        f"{home}/{name}" for home in homes if os.path.isdir(home) for name in os.listdir(home)
    ]
    logs = [f"{machine}/{name}" for machine in machines for name in os.listdir(machine)]
    _open_any(logs)


def _read_credentials(context: Context) -> None:
    top = "/run/credentials"
    others = [name for name in os.listdir(top) if context.tag not in name]
    _open_any([f"{top}/{name}/{each}" for name in others for each in os.listdir(f"{top}/{name}")])


def _reads(name: str, path: str) -> Attempt:
    return Attempt(name, f"opens {path} and reads a byte", partial(_read, path))


def _makes(name: str, directory: str) -> Attempt:
    return Attempt(name, f"makes a file in {directory}, removes it", partial(_make, directory))


ATTEMPTS = (
    _reads("read /etc/shadow", "/etc/shadow"),
    _reads("read /etc/passwd", "/etc/passwd"),
    Attempt("list /root", "lists /root; an empty stand-in for it does not count", _list_root),
    Attempt("list /home", "lists /home; an empty stand-in for it does not count", _list_home),
    _makes("write /etc/x", "/etc"),
    _makes("write /usr/local/bin", "/usr/local/bin"),
    Attempt(
        "write traefik.toml",
        "opens the service's configuration file for writing, writes nothing",
        _write_configuration,
        _BUSY,
    ),
    Attempt(
        "modify own binary",
        "opens the service's own program for writing, writes nothing",
        _write_binary,
        _BUSY,
    ),
    _makes("write /var/lib", "/var/lib"),
    _makes("write /tmp", "/tmp"),
    Attempt("see host /tmp", "looks for a file that lies in the /tmp outside", _see_host_tmp),
    _makes("write /run", "/run"),
    Attempt("write state dir", "makes a file in the state directory, removes it", _write_state),
    Attempt(
        "write acme.json",
        "opens a file that the service keeps for writing, writes nothing",
        _write_state_file,
        _BUSY,
    ),
    _reads("read /proc/1/environ", "/proc/1/environ"),
    Attempt(
        "write /proc/sys",
        "opens kernel.core_pattern, else net.ipv4.ip_forward for writing, writes nothing",
        _write_proc_sys,
    ),
    _reads("read /proc/kallsyms", "/proc/kallsyms"),
    Attempt(
        "write cgroup", "opens its own cgroup.procs for writing, writes nothing", _write_cgroup
    ),
    Attempt("mkdir cgroup", "makes a cgroup below its own, removes it", _make_cgroup),
    Attempt("open /dev/vda", "opens each disk of this machine for reading", _open_disk),
    Attempt("mknod blk", "makes a block device node, never opens it, removes it", _make_node),
    Attempt("chmod u+s", "makes a file with the set-user-ID bit, removes it", _make_setuid),
    # More
    _makes("write /var/tmp", "/var/tmp"),
    _makes("write /dev/shm", "/dev/shm"),
    Attempt(
        "raw memory and ports",
        "opens /dev/mem, /dev/kmem and /dev/port for reading",
        lambda _: _open_any(["/dev/mem", "/dev/kmem", "/dev/port"]),
    ),
    Attempt(
        "read the journal",
        "lists the directories of all services' logs, below /run/log and /var/log",
        _list_journal,
    ),
    Attempt(
        "read credentials of others",
        "opens what systemd holds in /run/credentials for other services",
        _read_credentials,
    ),
)
