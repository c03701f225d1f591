"""Landlock: files and ports that this process and all it becomes may no longer use. See
landlock(7) and linux/landlock.h.

Our own forty lines, not a package: PyPI's `landlock` (1.0.0.dev5) knows files alone, no ports and
no scopes, and others need a compiler or a new Python. Runs in the child between fork and exec.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.jailplan import BIND_TCP, CONNECT_TCP, rights_of
from notifywrap.runtime.syscall import call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from notifywrap.policy.jailplan import Plan
    from notifywrap.policy.jailspec import Jail, JailPath

__all__ = ["DENIED", "find_abi", "restrict"]

# The same on all architectures (asm-generic/unistd.h).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1 << 0
_PATH_BENEATH, _NET_PORT = 1, 2
_PORT_RIGHTS = {"bind": BIND_TCP, "connect": CONNECT_TCP}
DENIED = (
    "SystemCallFilter= of the unit forbids Landlock (add landlock_create_ruleset"
    " landlock_add_rule landlock_restrict_self to the filter)"
)
_WHY_NOT = {
    errno.ENOSYS: "this kernel has no Landlock",
    errno.EOPNOTSUPP: "Landlock was turned off at boot, see lsm= of the kernel's command line",
    errno.EPERM: DENIED,
}


def find_abi() -> tuple[int, str]:
    """(what this kernel's Landlock can do, ""), or (0, why there is none)."""
    try:
        return call("syscall", _CREATE_RULESET, None, 0, _VERSION), ""
    except OSError as error:
        number = error.errno or 0
        return 0, _WHY_NOT.get(number, f"Landlock: {os.strerror(number).lower()}")


def restrict(jail: Jail, plan: Plan, abi: int, more: Iterable[JailPath]) -> None:
    """Do as *plan* says to this process; no_new_privs must be set.

    abi   for which the plan is: how much of the kernel's structure there is
    more  exceptions that nobody has to ask for

    Raises SpecError for a path that is not there, OSError when the kernel refuses.
    """
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    attributes = struct.pack("QQQ", plan.handled_fs, plan.handled_net, plan.scoped)
    ruleset = call("syscall", _CREATE_RULESET, attributes, size, 0)
    try:
        if plan.root_rights:
            _allow_path(ruleset, "/", plan.root_rights)
        for each in jail.paths:
            _except(ruleset, each, plan.handled_fs, jail.label)
        for each in more:
            _except(ruleset, each, plan.handled_fs, jail.label, is_asked_for=False)
        for rule, port in jail.ports:
            rights = _PORT_RIGHTS[rule] & plan.handled_net
            if rights:
                call("syscall", _ADD_RULE, ruleset, _NET_PORT, struct.pack("QQ", rights, port), 0)
        call("syscall", _RESTRICT_SELF, ruleset, plan.flags)
    finally:
        os.close(ruleset)


def _except(
    ruleset: int, each: JailPath, handled_fs: int, label: str, *, is_asked_for: bool = True
) -> None:
    if not rights_of(each.rule, handled_fs, is_directory=True):
        return  # nothing was taken away: it need not be looked at, and may not be reachable
    try:
        is_directory = stat.S_ISDIR(os.stat(each.path).st_mode)
        rights = rights_of(each.rule, handled_fs, is_directory=is_directory)
        if rights:
            _allow_path(ruleset, each.path, rights)
    except OSError as error:
        if each.may_be_missing and (
            not is_asked_for  # whatever keeps us from it (InaccessiblePaths=) keeps the target, too
            or error.errno in (errno.ENOENT, errno.ENOTDIR)
        ):
            return
        why = os.strerror(error.errno or 0).lower()
        hint = f"; write {each.rule}=-{each.path} if it may be missing"
        if each.rule == "write":
            hint = f" (create it before the start, or name the directory that it will be in{hint})"
        raise SpecError(f"{label}: {each.rule}={each.path}: {why}{hint}") from None


def _allow_path(ruleset: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        # struct landlock_path_beneath_attr is packed
        call("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)
