"""What the sandboxing settings of a unit come to (systemd.exec(5)): who is let do what."""

from __future__ import annotations

import ipaddress
import posixpath
from typing import TYPE_CHECKING

from notifywrap.unitfile.values import parse_boolean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from notifywrap.unitfile.unit import Unit

__all__ = [
    "allows_address",
    "allows_call",
    "allows_family",
    "covers",
    "has_private_tmp",
    "hides_homes",
    "made_by_systemd",
    "noexec_everywhere",
    "protect_system",
    "writable_mounts",
]

# Where RuntimeDirectory= and its kin are; DynamicUser= puts all but the first below private/.
DIRECTORIES = {
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
    "RuntimeDirectory": "/run",
}
CREDENTIALS = (
    "LoadCredential",
    "LoadCredentialEncrypted",
    "SetCredential",
    "SetCredentialEncrypted",
    "ImportCredential",
)


def allows_family(unit: Unit, family: str) -> bool:
    """May the service open sockets of *family*, AF_UNIX for example?"""
    is_list, listed = True, set[str]()
    is_set = False
    for line in unit.lines("RestrictAddressFamilies"):
        if line.value in ("", "none"):
            is_set, is_list, listed = line.value == "none", True, set()
            continue
        is_denial = line.value.startswith("~")
        if not is_set:
            is_set, is_list = True, not is_denial
        names = set(line.value.removeprefix("~").split())
        listed = listed - names if is_denial == is_list else listed | names
    return not is_set or (family in listed) == is_list


def allows_call(unit: Unit, call: str, groups: Iterable[str]) -> bool:
    """May the service use the system call *call*, which is in these *groups* of systemd's?"""
    names = {call, *groups}
    is_set, is_list, is_listed = False, True, False
    for line in unit.lines("SystemCallFilter"):
        if not line.value:
            is_set, is_list, is_listed = False, True, False
            continue
        is_denial = line.value.startswith("~")
        if not is_set:
            is_set, is_list = True, not is_denial
        # "call:EPERM" in a list of denials is the errno for it.
        words = {word.partition(":")[0] for word in line.value.removeprefix("~").split()}
        if words & names:
            is_listed = is_denial != is_list
    return not is_set or is_listed == is_list


def allows_address(unit: Unit, address: str) -> bool:
    """May packets to and from *address* pass IPAddressDeny=?"""
    if _matches(unit.words("IPAddressAllow"), address):
        return True
    return not _matches(unit.words("IPAddressDeny"), address)


_NETWORKS = {
    "any": ("0.0.0.0/0", "::/0"),
    "localhost": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/64"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
}


def _matches(words: Iterable[str], address: str) -> bool:
    try:
        wanted = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    for word in words:
        for text in _NETWORKS.get(word, (word,)):
            try:
                if wanted in ipaddress.ip_network(text, strict=False):
                    return True
            except ValueError:
                pass  # systemd ignores it too
    return False


def covers(paths: Iterable[str], path: str) -> bool:
    """Is *path* one of *paths*, or below one?"""
    return any(path == each or path.startswith(f"{each.rstrip('/')}/") for each in paths)


def listed(unit: Unit, key: str) -> list[str]:
    """The paths of a list, without their prefixes; /var/run is /run."""
    paths = [posixpath.normpath(word.lstrip("-+")) for word in unit.words(key)]
    return [path.removeprefix("/var") if covers(["/var/run"], path) else path for path in paths]


def noexec_everywhere(unit: Unit) -> bool:
    """Is nothing to be executed but what ExecPaths= names?"""
    return "/" in listed(unit, "NoExecPaths")


def protect_system(unit: Unit) -> str:
    """ "strict", "full", "yes" or "no"."""
    said = unit.text("ProtectSystem", "no")
    if unit.flag("DynamicUser"):
        return "strict"
    truth = parse_boolean(said)
    return said if truth is None else "yes" if truth else "no"


def has_private_tmp(unit: Unit) -> bool:
    return unit.flag("DynamicUser") or unit.flag("PrivateTmp") or is_disconnected(unit)


def is_disconnected(unit: Unit) -> bool:
    """Since systemd 257 PrivateTmp= has a third value."""
    return unit.text("PrivateTmp") == "disconnected"


def hides_homes(unit: Unit) -> bool:
    """Are /home, /root and /run/user out of reach?"""
    said = unit.text("ProtectHome", "no")
    return said == "tmpfs" or parse_boolean(said) is True


def made_by_systemd(unit: Unit) -> dict[str, str]:
    """The variables for the directories that systemd makes: STATE_DIRECTORY=/var/lib/x, ..."""
    found = {}
    for key, parent in {**DIRECTORIES, "ConfigurationDirectory": "/etc"}.items():
        words = [word.partition(":")[0] for word in unit.words(key)]
        if words:
            name = key.removesuffix("Directory").upper()
            found[f"{name}_DIRECTORY"] = ":".join(f"{parent}/{word}" for word in words)
    if any(unit.lines(key) for key in CREDENTIALS):
        found["CREDENTIALS_DIRECTORY"] = f"/run/credentials/{unit.name.full}"
    return found


def writable_mounts(unit: Unit) -> list[str]:
    """The writable paths that NoExecPaths=/ leaves alone, for they are mounts of their own.

    Tried with systemd 252, 257 and 262: see tests/unitfile/test_noexec.py.
    """
    found = []
    is_dynamic = unit.flag("DynamicUser")
    if protect_system(unit) == "strict" or unit.flag("PrivateDevices"):
        found.append("/dev/shm")
    if has_private_tmp(unit):
        found += ["/tmp", "/var/tmp"]
    for key, parent in DIRECTORIES.items():
        private = "/private" if is_dynamic and key != "RuntimeDirectory" else ""
        for word in unit.words(key):
            found.append(f"{parent}{private}/{word.partition(':')[0]}")
    return list(dict.fromkeys([*found, *listed(unit, "ReadWritePaths")]))
