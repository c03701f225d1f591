"""The lab from the inside: what becomes PID 1 makes its own root file system, then is systemd.

All of it happens in the new mount namespace; what is written lands in a tmpfs, and both end with
the lab.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
import socket
import stat
from pathlib import Path
from typing import NamedTuple, NoReturn

from notifywrap.errors import NotifywrapError

__all__ = [
    "Bind",
    "LabError",
    "LabUnavailable",
    "Plan",
    "become_systemd",
    "die_with_parent",
    "mount",
    "unshare",
]

# linux/sched.h, linux/mount.h, linux/prctl.h
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 14, 1 << 18, 1 << 19, 1 << 20
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_CAPBSET_DROP = 1, 24
HARMLESS = MS_NOSUID | MS_NODEV | MS_NOEXEC

# What would reach through to the host's kernel, and container managers drop too: SYS_MODULE
# SYS_RAWIO SYS_TIME MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON
# (linux/capability.h).
DROPPED_CAPABILITIES = (16, 17, 25, 32, 33, 34, 35, 36, 37, 38)

SETTINGS = {
    "/etc/fstab": "",
    "/run/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\n"
    "RateLimitIntervalSec=0\nRateLimitBurst=0\nReadKMsg=no\nAudit=no\n",
    # The core pattern is the host's, and may be a pipe to a handler out there: a limit of 1 keeps
    # the kernel from using even that. A unit's own LimitCORE= wins.
    "/run/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultLimitCORE=1\n",
    "/run/systemd/system/lab.target": "[Unit]\nRequires=basic.target\nAfter=basic.target\n",
}
# The tree's own units would start its services, and take most of the boot: hardware, disks, timers.
EMPTIED = (
    "/etc/systemd/system",
    "/etc/systemd/system.conf.d",
    "/etc/systemd/system-generators",
    "/usr/local/lib/systemd/system-generators",
    "/usr/lib/systemd/system-generators",
    "/usr/lib/systemd/system/sysinit.target.wants",
    "/usr/lib/systemd/system/sockets.target.wants",
    "/usr/lib/systemd/system/timers.target.wants",
)
KEPT = ("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket")

_libc = ctypes.CDLL(None, use_errno=True)


class LabError(NotifywrapError):
    """The lab failed, or what was awaited in it did not happen."""


class LabUnavailable(LabError):
    """No lab can run here: a privilege, a kernel feature or systemd itself is missing."""


class Bind(NamedTuple):
    """A path of the host that the lab shows as *target*."""

    source: str
    target: str
    writable: bool


class Plan(NamedTuple):
    """What the keeper is told, as JSON. *owner* is the process whose end is the lab's end."""

    name: str
    owner: int
    rootfs: str
    binds: tuple[Bind, ...]
    private_net: bool
    size: str
    boot_timeout_s: float


def unshare(flags: int) -> None:
    _call("unshare", _libc.unshare, flags)


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    _call(
        f"mount {fstype or source} on {target}",
        _libc.mount,
        source.encode(),
        target.encode(),
        fstype.encode(),
        ctypes.c_ulong(flags),
        data.encode() or None,
    )


def die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def become_systemd(plan: Plan, scratch: str, console: str) -> NoReturn:
    """Turn this process, PID 1 of a new pid namespace, into a lab's systemd.

    scratch  a tmpfs with an empty `root` and `layers`, and a socket `notify` for systemd's READY=1
    console  the pty that is the lab's /dev/console
    """
    own = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC
    unshare(own | CLONE_NEWNET if plan.private_net else own)
    mount("", "/", "", MS_REC | MS_PRIVATE)
    _make_root(plan, scratch, console)
    socket.sethostname(plan.name)
    _configure(plan.name)
    for capability in DROPPED_CAPABILITIES:
        _libc.prctl(PR_CAPBSET_DROP, capability)
    os.setsid()
    terminal = os.open("/dev/console", os.O_RDWR | os.O_NOCTTY)
    for fd in range(3):
        os.dup2(terminal, fd)
    os.umask(0o022)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    program = next((p for p in _systemd_paths() if os.access(p, os.X_OK)), None)
    if program is None:
        raise LabUnavailable(f"no systemd in {plan.rootfs} (Debian: apt-get install systemd)")
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "container": "notifywrap-lab",
        "NOTIFY_SOCKET": "/run/host/notify",
    }
    os.execve(program, [program, "--system", "--unit=lab.target", "--show-status=no"], environment)


def _systemd_paths() -> tuple[str, ...]:
    return ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")


def _call(what: str, function: ctypes._NamedFuncPointer, *arguments: object) -> None:
    if function(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _make_root(plan: Plan, scratch: str, console: str) -> None:
    root = f"{scratch}/root"
    _overlay(plan.rootfs, root, f"{scratch}/layers/0")
    if plan.rootfs == "/":
        for number, point in enumerate(_mounts_below_root(skipped=scratch), 1):
            _show_mount(point, root + point, f"{scratch}/layers/{number}")
    for name in ("proc", "sys", "dev", "run", "tmp"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    _mount_kernel(root, plan.private_net)
    _make_dev(f"{root}/dev", console)
    mount("tmpfs", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=20%")
    mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=50%")
    for path, mode in (("run/lock", 0o1777), ("run/user", 0o755), ("run/host", 0o755)):
        os.mkdir(f"{root}/{path}")
        os.chmod(f"{root}/{path}", mode)
    _bind(f"{scratch}/notify", f"{root}/run/host/notify")
    for bind in plan.binds:
        _bind(bind.source, root + bind.target, MS_REC, read_only=not bind.writable)
    os.chdir(root)
    _call("pivot_root", _libc.pivot_root, b".", b".")
    _call("umount the old root", _libc.umount2, b".", MNT_DETACH)
    os.chdir("/")
    # systemd does so itself except in a container; LoadCredential= counts on it.
    mount("", "/", "", MS_REC | MS_SHARED)


def _overlay(lower: str, target: str, layer: str) -> None:
    upper, work = f"{layer}/upper", f"{layer}/work"
    os.makedirs(upper)
    os.makedirs(work)
    shown = os.stat(lower)
    os.chmod(upper, stat.S_IMODE(shown.st_mode))
    os.chown(upper, shown.st_uid, shown.st_gid)
    escaped = re.sub(r"([\\:,])", r"\\\1", lower)
    mount("overlay", target, "overlay", 0, f"lowerdir={escaped},upperdir={upper},workdir={work}")


def _mounts_below_root(skipped: str) -> list[str]:
    unwanted = ("/proc/", "/sys/", "/dev/", "/run/", "/tmp/", f"{skipped}/")
    points = set()
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), line.split()[4])
        if point != "/" and not f"{point}/".startswith(unwanted):
            points.add(point)
    return sorted(points)


def _show_mount(point: str, target: str, layer: str) -> None:
    try:
        if os.path.isdir(point):
            _overlay(point, target, layer)
        else:
            _bind(point, target, read_only=True)
    except OSError:
        try:  # some file systems cannot be a lower layer
            _bind(point, target, read_only=True)
        except OSError:
            pass  # nor be bound; a mount of the host that only its owner may see is no loss


def _bind(source: str, target: str, flags: int = 0, *, read_only: bool = False) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _touch(target)
    mount(source, target, "", MS_BIND | flags)
    if read_only:
        # A remount has to repeat the flags that the source came with; some are locked.
        kept = os.statvfs(target).f_flag & HARMLESS
        mount("", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def _mount_kernel(root: str, private_net: bool) -> None:
    mount("proc", f"{root}/proc", "proc", HARMLESS)
    for path in (f"{root}/proc/sys", f"{root}/proc/sysrq-trigger"):
        if os.path.exists(path):
            _bind(path, path, read_only=True)
    if private_net:  # the only sysctls that are the lab's own
        _bind(f"{root}/proc/sys/net", f"{root}/proc/sys/net")
        mount("", f"{root}/proc/sys/net", "", MS_REMOUNT | MS_BIND | HARMLESS)
    mount("sysfs", f"{root}/sys", "sysfs", HARMLESS | MS_RDONLY)
    mount("cgroup2", f"{root}/sys/fs/cgroup", "cgroup2", HARMLESS)


def _make_dev(dev: str, console: str) -> None:
    mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=755,size=4M")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        try:
            os.mknod(f"{dev}/{name}", stat.S_IFCHR, os.stat(f"/dev/{name}").st_rdev)
            os.chmod(f"{dev}/{name}", 0o666)
        except PermissionError:  # a container's device rules
            _bind(f"/dev/{name}", f"{dev}/{name}")
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"{dev}/{name}")
    options = "newinstance,ptmxmode=0666,mode=620,gid=5"
    mount("devpts", f"{dev}/pts", "devpts", MS_NOSUID | MS_NOEXEC, options)
    mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=20%")
    mount("mqueue", f"{dev}/mqueue", "mqueue", HARMLESS)
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd"}
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        links[name] = f"/proc/self/fd/{number}"
    for name, where in links.items():
        os.symlink(where, f"{dev}/{name}")
    _bind(console, f"{dev}/console")


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))


def _configure(name: str) -> None:
    for directory in EMPTIED:
        _empty(directory, keep=KEPT)
    machine_id = os.urandom(16).hex()  # also hides the host's journal
    for path, text in {
        **SETTINGS,
        "/etc/machine-id": f"{machine_id}\n",
        "/etc/hostname": f"{name}\n",
    }.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.islink(path):
            os.unlink(path)
        Path(path).write_text(text, encoding="utf-8")


def _empty(directory: str, keep: tuple[str, ...] = ()) -> None:
    try:
        entries = list(os.scandir(directory))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return  # not every release has each of them
        raise
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            _empty(entry.path)
            os.rmdir(entry.path)
        elif entry.name not in keep:
            os.unlink(entry.path)
