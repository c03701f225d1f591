"""What can be taken away from a service, as data: strongest tier first, with what it is good for.

The order is that of their worth, except where one line of a unit must come before another: in
SystemCallFilter= the first decides whether the list allows or denies (systemd.exec(5)).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.harden.model import Candidate, Setting, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["GUARD", "Facts", "list_candidates"]

GUARD = ("ProtectSystem", "PrivateTmp")  # of every round: they keep the copy from real data
_BIND = "CAP_NET_BIND_SERVICE"
# What a daemon that starts as root and then drops it needs.
_DROPS_ROOT = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SETGID CAP_SETUID CAP_KILL"


class Facts(NamedTuple):
    """What is known of the service.

    values        settings of [Service] that the unit has: key -> last value
    is_dynamic    DynamicUser=yes is in it
    user          of User=; "" for root or a dynamic one
    low_ports     below 1024, that it listens on itself
    writable      its mounts that NoExecPaths=/ does not cover
    programs      what ExecPaths= must name
    threads       that it had
    writes        paths that it was found to write to, beside those that its unit names
    version       of systemd
    learned       candidates that came of watching it
    backends      what is weaker than PrivateNetwork=yes alone
    """

    values: Mapping[str, str] = MappingProxyType({})
    is_dynamic: bool = False
    user: str = ""
    low_ports: tuple[int, ...] = ()
    writable: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    threads: int = 1
    writes: tuple[str, ...] = ()
    version: int = 252
    learned: tuple[Candidate, ...] = ()
    backends: tuple[Tier, ...] = ()


class _Simple(NamedTuple):
    """A directive with a value that is a step on a scale.

    values  strongest first
    beyond  values that are stronger still, or no weaker: a unit that has one keeps it
    since   the systemd that has it
    """

    key: str
    why: str
    values: tuple[str, ...] = ("yes",)
    is_risky: bool = False
    since: int = 0
    beyond: tuple[str, ...] = ()


_YES = ("yes", "true", "on", "1")
_SIMPLE = (
    _Simple("ProtectSystem", "the file system is read-only for it", ("strict",)),
    _Simple(
        "PrivateTmp", "other services' temporary files are out of sight", beyond=("disconnected",)
    ),
    _Simple("NoNewPrivileges", "no set-user-ID program helps it"),
    _Simple("RestrictNamespaces", "no namespaces of its own: most kernel exploits begin with one"),
    _Simple("ProtectHome", "homes are out of sight", ("yes", "tmpfs", "read-only")),
    _Simple("PrivateDevices", "no disks and no other devices"),
    _Simple("DevicePolicy", "no devices, by the cgroup as well", ("closed",), beyond=("strict",)),
    _Simple("ProtectProc", "other processes are out of sight", ("invisible",)),
    _Simple("ProtectKernelTunables", "/proc/sys and /sys are read-only"),
    _Simple("ProtectKernelModules", "it loads no kernel modules"),
    _Simple("ProtectKernelLogs", "it does not read the kernel's log"),
    _Simple(
        "ProtectControlGroups", "it does not change control groups", beyond=("strict", "private")
    ),
    _Simple("ProtectClock", "it does not set the clock"),
    _Simple("ProtectHostname", "it does not change the host's name", beyond=("private",)),
    _Simple("LockPersonality", "no other personality(2)"),
    _Simple("RestrictRealtime", "it cannot take a CPU for itself"),
    _Simple("RestrictSUIDSGID", "it makes no set-user-ID files"),
    _Simple("KeyringMode", "no keys of others", ("private",)),
    _Simple("PrivateIPC", "no System V IPC with others"),
    _Simple("PrivateMounts", "its mounts stay its own"),
    _Simple("UMask", "its files are its own", ("0077", "0027")),
    _Simple("SystemCallArchitectures", "no calls of another architecture", ("native",)),
    _Simple("MemoryDenyWriteExecute", "no memory that is written and executed"),
    _Simple("ProcSubset", "of /proc its processes alone", ("pid",), is_risky=True),
    _Simple(
        "PrivateUsers",
        "root is nobody to it",
        is_risky=True,
        beyond=("self", "identity", "full", "managed"),
    ),
)
# SystemCallFilter=, beyond @system-service. Not @ipc: it has pipes, which notifywrap needs; so the
# calls of System V are named.
_CALLS = (
    ("~@privileged", "no calls that only root needs"),
    ("~@resources", "no change of priorities and limits"),
    ("~@aio", "no io_uring, which goes around this filter"),
    ("~@keyring", "no kernel keys"),
    ("~@memlock", "no locked memory"),
    ("~@chown", "no change of owners"),
    ("~@setuid", "no change of user"),
    ("~@pkey", "no memory protection keys"),
    ("~memfd_create", "no files in memory, which would be executed"),
    ("~shmget shmat semget semop msgget msgsnd mq_open", "no System V IPC"),
)


def list_candidates(facts: Facts) -> tuple[Candidate, ...]:
    """All that may make this service tighter. Nothing in it would make it weaker: what the unit
    sets as strongly is left out, and lists that it sets only get shorter."""
    found = [
        *_identity(facts),
        *(each for each in facts.learned if each.name == "sockets"),  # others need it to fit
        *(each for each in (_step(one, facts) for one in _SIMPLE) if each),
        *_network(facts),
        *_capabilities(facts),
        *_families(facts),
        *_calls(facts),
        *_programs(facts),
        *_tasks(facts),
        *(each for each in facts.learned if each.name != "sockets"),
    ]
    return tuple(found)


def _candidate(
    name: str, why: str, tiers: Iterable[Iterable[Setting]], *, is_risky: bool = False
) -> Candidate:
    return Candidate(name, why, tuple(Tier(tuple(lines)) for lines in tiers), is_risky)


def _step(simple: _Simple, facts: Facts) -> Candidate | None:
    """The steps that are stronger than what the unit has."""
    if simple.since > facts.version:
        return None
    has = facts.values.get(simple.key, "")
    if has.partition(":")[0] in simple.beyond:
        return None
    has = "yes" if has.lower() in _YES else has
    if simple.key == "UMask" and has:
        stronger: tuple[str, ...] = simple.values if has in ("0022", "022", "0002") else ()
    elif has in simple.values:
        stronger = simple.values[: simple.values.index(has)]
    else:
        stronger = simple.values
    if not stronger:
        return None
    more = [Setting("ReadWritePaths", f"-+{path}") for path in facts.writes]
    more = more if simple.key == "ProtectSystem" else []
    tiers = [[Setting(simple.key, value), *more] for value in stronger]
    return _candidate(simple.key, simple.why, tiers, is_risky=simple.is_risky)


def _identity(facts: Facts) -> Iterator[Candidate]:
    if facts.is_dynamic or facts.user:
        return
    dynamic = Setting("DynamicUser", "yes")
    tiers = [[dynamic]]
    if facts.low_ports:
        ambient = Setting("AmbientCapabilities", _BIND)
        tiers = [[dynamic, ambient]]
    yield _candidate("DynamicUser", "a user of its own while it runs", tiers, is_risky=True)


def _network(facts: Facts) -> Iterator[Candidate]:
    alone = _step(_Simple("PrivateNetwork", "no network at all", is_risky=True), facts)
    if alone:
        yield alone._replace(tiers=alone.tiers + facts.backends)


def _capabilities(facts: Facts) -> Iterator[Candidate]:
    if "CapabilityBoundingSet" in facts.values:
        return
    key = "CapabilityBoundingSet"
    ambient = facts.values.get("AmbientCapabilities", "")
    wanted = [""]
    if facts.low_ports or _BIND in ambient:
        wanted.append(_BIND)
    if ambient and ambient != _BIND:
        wanted.append(ambient)
    if not facts.is_dynamic:
        wanted += [_DROPS_ROOT, f"{_DROPS_ROOT} {_BIND}"]
    tiers = [[Setting(key, each)] for each in dict.fromkeys(wanted)]
    yield _candidate(key, "no privileges, not even as root", tiers, is_risky=True)


def _families(facts: Facts) -> Iterator[Candidate]:
    key = "RestrictAddressFamilies"
    if key in facts.values:
        return
    # AF_UNIX is for systemd's NOTIFY_SOCKET.
    lists = ("AF_UNIX AF_INET AF_INET6", "AF_UNIX AF_INET AF_INET6 AF_NETLINK")
    tiers = [[Setting(key, each)] for each in lists]
    yield _candidate(key, "no sockets to the kernel and to other machines' hardware", tiers)


def _calls(facts: Facts) -> Iterator[Candidate]:
    key = "SystemCallFilter"
    if key not in facts.values:
        allowed = [
            Setting(key, "@system-service"),
            # What --jail is built with; a process can only take from itself with them.
            Setting(key, "landlock_create_ruleset landlock_add_rule landlock_restrict_self"),
            Setting("SystemCallErrorNumber", "EPERM"),
        ]
        yield _candidate(f"{key}=@system-service", "only calls that services use", [allowed])
    for value, why in _CALLS:
        yield _candidate(f"{key}={value}", why, [[Setting(key, value)]])


def _programs(facts: Facts) -> Iterator[Candidate]:
    if "NoExecPaths" in facts.values or not facts.programs:
        return
    writable = " ".join(facts.writable)
    allowed = Setting("ExecPaths", " ".join(facts.programs))
    tiers = [
        [Setting("NoExecPaths", f"/ {writable}".strip()), allowed],
        [Setting("NoExecPaths", writable)],
    ]
    why = "nothing is executed but what it needs: a dropped file is not"
    yield _candidate("NoExecPaths", why, tiers if writable else tiers[:1], is_risky=True)


def _tasks(facts: Facts) -> Iterator[Candidate]:
    if "TasksMax" not in facts.values:
        # Generous, as many services start threads by load and by the number of CPUs.
        most = max(128, 8 * facts.threads)
        yield _candidate("TasksMax", "no fork bomb", [[Setting("TasksMax", str(most))]])
