"""The jail: applied to the process that is about to become the target, and to nothing else.

Runs in the child between fork and exec. So the wrapper itself stays free to fork its exec probes
and to talk to systemd, and exec takes all that was imported here out of memory again.
"""

from __future__ import annotations

import os
import stat
import struct

from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import Level
from notifywrap.policy.jailplan import find_gaps, make_plan
from notifywrap.policy.jailspec import JailPath
from notifywrap.policy.syscallfilter import MACHINES, build_filter
from notifywrap.runtime.landlock import DENIED, find_abi, restrict
from notifywrap.runtime.libc import PR_SET_NO_NEW_PRIVS, prctl
from notifywrap.runtime.program import find_machine, find_programs
from notifywrap.runtime.syscall import call, place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from notifywrap.policy.jailspec import Jail
    from notifywrap.policy.syscallfilter import Instruction, Machine
    from notifywrap.runtime.program import Program

    Say = Callable[[Level, str], None]

__all__ = ["enter"]

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2  # linux/prctl.h, linux/seccomp.h
# What no program does without, whatever read= and write= say. somaxconn: where Go cannot read it,
# its listeners take a backlog of 128 instead of 4096.
_READ = ("/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/proc/sys/net/core/somaxconn")
_WRITE = ("/dev/null",)
# Where ld.so looks, see ld.so(8).
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
# Each opens /proc/PID/map_files, where memory has a file (proc(5)); numbers: linux/capability.h.
_OF_MAP_FILES = {21: "CAP_SYS_ADMIN", 40: "CAP_CHECKPOINT_RESTORE"}


def enter(jail: Jail, argv: Sequence[str], env: Mapping[str, str], say: Say) -> None:
    """Put this process, which is to execute *argv*, into *jail*, and say what that means.

    Raises SpecError for a path that is not there, NotifywrapError where a strict jail cannot be
    enforced, OSError when *argv* cannot be executed.
    """
    programs = _find_all(jail, argv, env)
    status = _read_status()
    abi, why = _look_for_landlock(is_filtered=status.get("Seccomp") == "2")
    machine = _find_machine()
    gaps = find_gaps(
        jail,
        abi,
        why=why,
        can_filter=machine is not None,
        capabilities=_find_capabilities(status),
    )
    if gaps:
        text = f"{jail.label}: not enforced here: {'; '.join(gaps)}"
        if jail.is_strict:
            raise NotifywrapError(f"{text}; strict forbids to start so")
        say(Level.WARNING, text)
    program = build_filter(jail, machine) if machine is not None else []
    if program and machine is not None:
        _check_machine(jail, programs, machine.elf)
    plan = make_plan(jail, abi)
    if abi == 1 and plan.handled_fs:
        text = "files cannot be moved to another directory (EXDEV): Landlock before Linux 5.19"
        say(Level.NOTICE, f"{jail.label}: {text}")
    try:
        prctl(PR_SET_NO_NEW_PRIVS, 1)  # else neither is for unprivileged processes
        if not plan.is_empty:
            restrict(jail, plan, abi, _find_exceptions(programs))
        _tell(jail, programs, abi, say)  # before a filter that may cut us off from the journal
        if program:
            _filter(program)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise NotifywrapError(f"{jail.label}: cannot be entered: {why}") from None


def _find_all(jail: Jail, argv: Sequence[str], env: Mapping[str, str]) -> list[Program]:
    """The target and what it needs to be executed, then the same for each file of exec=."""
    found = _find_one(jail, argv[0], env)
    for each in jail.paths:
        if each.rule == "exec" and os.path.isfile(each.path) and os.access(each.path, os.X_OK):
            try:
                more = _find_one(jail, each.path, env)
            except OSError as error:
                why = f"{error.filename or each.path}: {os.strerror(error.errno or 0).lower()}"
                raise SpecError(f"{jail.label}: exec={each.path}: {why}") from None
            found += [program for program in more if program not in found]
    return found


def _find_one(jail: Jail, command: str, env: Mapping[str, str]) -> list[Program]:
    try:
        return find_programs(command, env)
    except PermissionError as error:
        if error.filename is None:  # not executable
            raise
        text = f"{jail.label}: cannot read {error.filename!r}, to see which loader it needs"
        raise NotifywrapError(text) from None


def _find_exceptions(programs: Sequence[Program]) -> list[JailPath]:
    """What is readable, writable or executable without being asked for, if the rules forbid it."""
    found = [JailPath("exec", each.path) for each in programs]
    found += [JailPath("read", path, may_be_missing=True) for path in _READ]
    found += [JailPath("write", path, may_be_missing=True) for path in _WRITE]
    if any(each.role == "loader" for each in programs):
        found += [JailPath("read", path, may_be_missing=True) for path in _LIBRARIES]
    return found


def _read_status() -> dict[str, str]:
    """What /proc has to say about this process; {} without /proc."""
    try:
        with open("/proc/self/status", "rb") as file:
            lines = os.fsdecode(file.read()).split("\n")
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _find_capabilities(status: Mapping[str, str]) -> list[str]:
    """Those of _OF_MAP_FILES that the target is going to have."""
    try:
        with open("/proc/self/uid_map", "rb") as file:
            # In a user namespace of their own (PrivateUsers=) they do not count for that.
            if file.read().split() != [b"0", b"0", b"4294967295"]:
                return []
    except OSError:
        pass  # a kernel without user namespaces
    own, given, bounding, ambient = (
        int(status.get(name, "0"), 16) for name in ("CapPrm", "CapInh", "CapBnd", "CapAmb")
    )
    # capabilities(7): with no_new_privs, nobody gets more by executing than he has before.
    kept = (own & (given | bounding)) | ambient
    return [name for number, name in _OF_MAP_FILES.items() if kept >> number & 1]


def _find_machine() -> Machine | None:
    """What this process is made for; None where its system calls are not known. Not uname(2), which
    says what Personality= wants to hear: i686 on x86_64."""
    try:
        elf = find_machine("/proc/self/exe")
    except OSError:  # no /proc, or an interpreter that can be executed and not read
        return MACHINES.get(os.uname().machine)
    return next((machine for machine in MACHINES.values() if machine.elf == elf), None)


def _look_for_landlock(*, is_filtered: bool) -> tuple[int, str]:
    """As find_abi(), also where the unit's own filter kills whoever asks: a target that dies of
    SIGSYS before its first instruction would leave people guessing."""
    try:
        child = os.fork() if is_filtered else None
    except OSError:
        child = None  # LimitNPROC=: then we shall see
    if child == 0:
        find_abi()
        os._exit(0)
    if child and os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        return 0, DENIED
    return find_abi()


def _check_machine(jail: Jail, programs: Sequence[Program], elf: int) -> None:
    for each in programs:
        if each.machine not in (0, elf):
            raise NotifywrapError(
                f"{jail.label}: {each.path!r} is not a 64-bit program of this machine:"
                " its system calls cannot be filtered (leave nofork, nounix and nomemfd out)"
            )


def _tell(jail: Jail, programs: Sequence[Program], abi: int, say: Say) -> None:
    if "exec" in jail.rules and abi:
        named = [f"its {each.role} {each.path}" if each.role else each.path for each in programs]
        named += [
            f"all below {each.path}"
            for each in jail.paths
            if each.rule == "exec" and os.path.isdir(each.path)
        ]
        roles = sorted({each.role for each in programs if each.role})
        hint = f" (and whatever its {' or '.join(roles)} can read)" if roles else ""
        say(Level.INFO, f"{jail.label}: nothing is executed but {', '.join(named)}{hint}")
    for each in programs:
        is_helped = any(path.rule == "exec" for path in jail.paths)
        if each.is_opaque and "exec" in jail.rules and abi and not is_helped:
            text = f"cannot tell what {each.path!r} executes by its first line"
            say(Level.WARNING, f"{jail.label}: {text} (add exec=PATH for it)")
    if os.geteuid() != 0 and _gains_privilege(programs[0].path):
        say(
            Level.WARNING,
            f"{jail.label}: {programs[0].path!r} has a set-user-ID bit or file capabilities,"
            " which do not count in a jail (give the unit AmbientCapabilities= instead)",
        )


def _gains_privilege(path: str) -> bool:
    try:
        if os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID):
            return True
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False  # ENODATA: it has none


def _filter(program: Sequence[Instruction]) -> None:
    code = b"".join(struct.pack("=HBBI", *each) for each in program)
    address, _kept = place(code)
    header = struct.pack("HP", len(program), address)
    # prctl(2) and not seccomp(2): units have it in any SystemCallFilter=.
    call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0)
