"""What this kernel can enforce of a jail, and with which of its means. Decisions only."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from notifywrap.policy.jailspec import Jail

__all__ = ["Plan", "find_gaps", "make_plan", "rights_of"]

# linux/landlock.h: rights on files ...
EXECUTE, WRITE_FILE, READ_FILE = 1 << 0, 1 << 1, 1 << 2
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
# ... and on what is in a directory.
READ_DIR = 1 << 3
_CHANGE_DIR = 0b1_1111_1111 << 4  # REMOVE_DIR, REMOVE_FILE, MAKE_CHAR ... MAKE_SYM
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1 << 0, 1 << 1
LOG_NEW_EXEC = 1 << 1

# Enforced by a system call filter, and by Landlock from this ABI on.
_FILTERED = frozenset(("nofork", "nounix", "nomemfd"))
_SINCE_ABI = {"exec": 1, "read": 1, "write": 1, "bind": 4, "connect": 4, "nosignal": 6}
_LINUX = {1: "5.13", 3: "6.2", 4: "6.7", 5: "6.10", 6: "6.12"}  # the first that has the ABI
_NEIGHBOURS = (
    "taking over processes of this user that are in no jail, such as exec: probes"  # ptrace(2)
)
_NO_FILTER = "system calls are filtered on x86_64 and aarch64 alone"
_ORDER = (*_SINCE_ABI, *sorted(_FILTERED))


class Plan(NamedTuple):
    """What Landlock is asked for. See landlock_create_ruleset(2).

    handled_fs   rights that are denied but for the exceptions
    handled_net  the same for TCP ports
    scoped       what does not reach beyond the jail
    root_rights  to be given back for all paths
    flags        of landlock_restrict_self(2)
    """

    handled_fs: int
    handled_net: int
    scoped: int
    root_rights: int
    flags: int

    @property
    def is_empty(self) -> bool:
        """Is there nothing that Landlock could do here?"""
        return not (self.handled_fs or self.handled_net or self.scoped)


def make_plan(jail: Jail, abi: int) -> Plan:
    """What a kernel with this Landlock ABI can do for *jail*; 0 for a kernel without Landlock."""
    rules = jail.rules
    fs = EXECUTE * ("exec" in rules)
    fs |= (READ_FILE | READ_DIR) * ("read" in rules)
    if "write" in rules:
        fs |= WRITE_FILE | _CHANGE_DIR | TRUNCATE * (abi >= 3) | IOCTL_DEV * (abi >= 5)
    root = 0
    if fs and abi >= 2:
        # Any ruleset denies moving a file to another directory (EXDEV), asked or not. Nobody asked,
        # unless it is write= that says where files may change.
        fs |= REFER
        root = 0 if "write" in rules else REFER
    net = BIND_TCP * ("bind" in rules) | CONNECT_TCP * ("connect" in rules)
    net *= abi >= 4
    scoped = SCOPE_SIGNAL * ("nosignal" in rules) | SCOPE_ABSTRACT_UNIX * ("nounix" in rules)
    scoped *= abi >= 6
    if not (fs or net or scoped):
        # For the wall that comes with any ruleset: who is inside cannot trace who is outside
        # (landlock(7)), and there are exec probes. A right that is given back everywhere will do.
        fs = root = REFER if abi >= 2 else EXECUTE
    return Plan(
        handled_fs=fs if abi >= 1 else 0,
        handled_net=net,
        scoped=scoped,
        root_rights=root if abi >= 1 else 0,
        flags=LOG_NEW_EXEC if abi >= 7 else 0,  # what was denied, in the audit log
    )


def rights_of(rule: str, handled_fs: int, *, is_directory: bool) -> int:
    """What an exception to *rule* gives back, of the rights that are handled."""
    # What is executed is read by the kernel in the target's name; what is written is read again.
    rights = READ_FILE | (EXECUTE if rule == "exec" else READ_DIR)
    if rule == "exec" and is_directory:
        rights |= READ_DIR
    if rule == "write":
        rights |= WRITE_FILE | _CHANGE_DIR | REFER | TRUNCATE | IOCTL_DEV
    return rights & handled_fs & (-1 if is_directory else _OF_FILES)


def find_gaps(
    jail: Jail,
    abi: int,
    *,
    why: str = "",
    can_filter: bool = True,
    capabilities: Sequence[str] = (),
) -> list[str]:
    """What of *jail* is not enforced here, and why: each a part of a sentence.

    why           there is no Landlock, where *abi* is 0
    can_filter    can system calls be filtered on this machine?
    capabilities  of the target, those that open /proc/PID/map_files (proc(5))
    """
    missing: dict[str, list[str]] = {}
    for rule in _ORDER:
        if rule in jail.rules and rule in _FILTERED and not can_filter:
            missing.setdefault(_NO_FILTER, []).append(rule)
        since = _SINCE_ABI.get(rule, 0)
        if rule in jail.rules and abi < since:
            reason = why or f"needs Linux {_LINUX[since]}"
            missing.setdefault(reason, []).append(rule)
    if abi == 0:
        missing.setdefault(why or f"needs Linux {_LINUX[1]}", []).append(_NEIGHBOURS)
    if not can_filter and abi >= 4 and jail.rules & {"bind", "connect"}:
        missing.setdefault(_NO_FILTER, []).append("MPTCP past bind and connect")
    if "write" in jail.rules and 1 <= abi < 3:
        missing[f"needs Linux {_LINUX[3]}"] = ["truncating files by their path"]
    if "write" in jail.rules and 1 <= abi < 5:
        missing[f"needs Linux {_LINUX[5]}"] = ["ioctl(2) on devices"]
    if capabilities and jail.rules & {"exec", "nomemfd"}:
        let = "lets it" if len(capabilities) == 1 else "let it"
        fix = f"{' and '.join(capabilities)} {let}: set CapabilityBoundingSet= in the unit"
        missing[fix] = ["executing memory by way of /proc/self/map_files"]
    return [f"{', '.join(rules)} ({reason})" for reason, rules in missing.items()]
