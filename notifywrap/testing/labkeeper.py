"""The keeper of a lab: a process outside that boots it, waits for its end, and removes all traces.

Nothing of a lab is in the host's file system: what it needs lies in a tmpfs that only the keeper's
own mount namespace has. So the kernel itself removes everything but the cgroup, even when the
keeper is killed: PID 1 dies with it (PR_SET_PDEATHSIG), and the pid namespace with PID 1. A cgroup
that is left then, the next keeper removes.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from notifywrap.testing import labroot
from notifywrap.testing.labroot import Bind, LabError, LabUnavailable, Plan, mount, unshare

__all__ = ["main"]

# A directory that exists everywhere and that no lab shows. For the keeper and its lab alone it is
# covered by a tmpfs.
SCRATCH = "/sys/kernel"
PREFIX = "notifywrap-lab."
CONSOLE_KEPT = 4096  # bytes, for the error message of a boot that failed
# What a missing privilege, a seccomp filter or a kernel without the feature answers.
REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENODEV, errno.EROFS}


def main() -> None:
    """Keep the lab whose plan is in argv[-1]; say on stdout how its boot went, as JSON."""
    raw = json.loads(sys.argv[-1])
    plan = Plan(**{**raw, "binds": tuple(Bind(*bind) for bind in raw["binds"])})
    try:
        Keeper(plan).run()
    except (OSError, LabError) as error:
        _tell(_describe(error))


class Keeper:
    """One lab, from its first namespace to the removal of its cgroup."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.console = bytearray()
        self.is_booted = False

    def run(self) -> None:
        """Returns when nothing is left of the lab; OSError or LabError: it cannot be booted."""
        self.wake = _trap_signals()
        self.owner = os.pidfd_open(self.plan.owner)
        if os.getppid() != self.plan.owner:
            return  # it ended before we could watch it
        if not os.path.isdir(SCRATCH):
            raise LabUnavailable("/sys is not mounted here")
        unshare(labroot.CLONE_NEWNS)
        mount("", "/", "", labroot.MS_REC | labroot.MS_SLAVE)
        mount("tmpfs", SCRATCH, "tmpfs", labroot.MS_NODEV, f"mode=755,size={self.plan.size}")
        for name in ("root", "layers", "cgroup"):
            os.mkdir(f"{SCRATCH}/{name}")
        mount("cgroup2", f"{SCRATCH}/cgroup", "cgroup2", labroot.HARMLESS)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(f"{SCRATCH}/notify")
        # The keeper has the other end open too: else the console hangs up whenever nobody inside
        # uses it.
        self.master, self.slave = os.openpty()
        cgroup, lock = _make_cgroup(self.plan.name)
        try:
            self.boot(cgroup)
        finally:
            _remove_cgroup(cgroup)
            os.close(lock)

    def boot(self, cgroup: str) -> None:
        started = time.monotonic()
        report, theirs = os.pipe()
        unshare(labroot.CLONE_NEWPID)
        child = os.fork()
        if child == 0:
            self.be_pid_1(cgroup, theirs)
        os.close(theirs)
        pidfd = os.pidfd_open(child)
        try:
            self.watch(child, pidfd, report, deadline=started + self.plan.boot_timeout_s)
        finally:
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended by itself, say by `systemctl poweroff`
            os.waitpid(child, 0)  # returns only when every process of its pid namespace is gone

    def be_pid_1(self, cgroup: str, report: int) -> None:
        try:
            labroot.die_with_parent()
            Path(cgroup, "cgroup.procs").write_text("0", encoding="ascii")
            labroot.become_systemd(self.plan, SCRATCH, os.ttyname(self.slave))
        except (OSError, LabError) as error:
            os.write(report, json.dumps(_describe(error)).encode())
        finally:
            os._exit(1)

    def watch(self, child: int, pidfd: int, report: int, deadline: float) -> None:
        """Drain the console and tell when systemd is up, until the lab, its owner or time ends."""
        poll = select.poll()
        for fd in (self.wake, self.owner, self.notify.fileno(), self.master, pidfd):
            poll.register(fd, select.POLLIN)
        while True:
            wait_ms = None if self.is_booted else max(0.0, deadline - time.monotonic()) * 1000
            ready = {fd for fd, _ in poll.poll(wait_ms)}
            if self.master in ready:
                self.console += os.read(self.master, 65536)
                del self.console[:-CONSOLE_KEPT]
            if self.notify.fileno() in ready and self.heard_ready() and not self.is_booted:
                self.is_booted = True
                _tell({"pid": child})
            if ready & {self.wake, self.owner}:
                return
            if pidfd in ready or not ready:
                break
        if not self.is_booted:
            self.explain(os.read(report, 65536) if ready else b"")

    def heard_ready(self) -> bool:
        return b"READY=1" in self.notify.recv(65536).split(b"\n")

    def explain(self, told: bytes) -> None:
        if told:
            failure = json.loads(told)
            raise (LabUnavailable if failure["unavailable"] else LabError)(failure["error"])
        console = self.console.decode(errors="replace").replace("\r", "").strip()
        within = f"within {self.plan.boot_timeout_s:g} s"
        raise LabError(f"systemd ended, or was not up {within}; its console:\n{console}")


def _trap_signals() -> int:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return read_end


def _tell(message: dict[str, object]) -> None:
    """Say the one thing that the owner waits for; then let go of its pipe."""
    os.write(1, json.dumps(message).encode())
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)


def _describe(error: OSError | LabError) -> dict[str, object]:
    if isinstance(error, LabError):
        return {"error": str(error), "unavailable": isinstance(error, LabUnavailable)}
    refused = error.errno in REFUSED
    text = f"{error.filename}: {error.strerror}" if error.filename else f"{error.strerror}"
    hint = (
        " (it takes root with CAP_SYS_ADMIN, and no filter on mount and unshare)" if refused else ""
    )
    return {"error": text + hint, "unavailable": refused}


def _make_cgroup(name: str) -> tuple[str, int]:
    """A cgroup below our own, and the lock that says that its keeper lives."""
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    own = next((line[3:] for line in lines if line.startswith("0::")), None)
    if own is None:
        raise LabUnavailable("this kernel has no cgroup v2 hierarchy")
    parent = f"{SCRATCH}/cgroup{own.rstrip('/')}"
    with_parent = _lock(
        parent
    )  # or another keeper might take ours for a dead one's, before we have locked it
    assert with_parent is not None, "a lock that is waited for is had"
    try:
        for entry in os.listdir(parent):
            if entry.startswith(PREFIX):
                _sweep(f"{parent}/{entry}")
        path = f"{parent}/{PREFIX}{name}"
        os.mkdir(path)
        lock = _lock(path)
        assert lock is not None, "a lock that is waited for is had"
        return path, lock
    finally:
        os.close(with_parent)


def _lock(path: str, flags: int = 0) -> int | None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _sweep(path: str) -> None:
    try:
        lock = _lock(path, fcntl.LOCK_NB)
    except FileNotFoundError:
        return  # its keeper was just done
    if lock is not None:
        _remove_cgroup(path)
        os.close(lock)


def _remove_cgroup(path: str, limit_s: float = 5.0) -> None:
    """Remove a cgroup and those below it, whose processes are dead or dying."""
    deadline = time.monotonic() + limit_s
    while os.path.isdir(path):
        for directory, _, _ in os.walk(path, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                pass  # EBUSY: not all of its dead are reaped
        if time.monotonic() > deadline:
            raise LabError(f"cgroup {path} cannot be removed: somebody has moved a process into it")
        time.sleep(0.001)
