"""What is known of a service before the search: from its unit, and from its baseline."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from notifywrap.drill.throwaway import DIRECTORIES
from notifywrap.errors import NotifywrapError
from notifywrap.harden.candidates import Facts
from notifywrap.harden.model import Observation
from notifywrap.harden.restructure import PRIVILEGED, Seen, list_restructurings
from notifywrap.harden.sockets import PROXY, offer_backends
from notifywrap.harden.sweeper import UNITS, end_units
from notifywrap.unitfile.compose import quote
from notifywrap.unitfile.sandbox import writable_mounts

if TYPE_CHECKING:
    from notifywrap.harden.model import Tier
    from notifywrap.harden.trial import Original

__all__ = ["check_idle", "filters_addresses", "find_facts", "find_in_homes"]

# Daemons that look for a socket by its name: those of the units that they are shipped with.
_SOCKETS = {"traefik": {80: "web", 443: "websecure"}}
# Nobody listens on port 9: refused (111) is what comes back at once where nothing drops it.
_CONNECT = (
    "import socket, sys; one = socket.socket(); one.settimeout(0.3);"
    " sys.exit(one.connect_ex(('127.0.0.1', 9)) == 111)"
)
_RESOLVERS = "/etc/resolv.conf"
_ROOTS = ("RootDirectory", "RootImage", "TemporaryFileSystem")
_BUSY = ("active", "activating", "reloading", "deactivating")


def check_idle(original: Original) -> None:
    """Raises NotifywrapError when the service itself runs: its ports would be taken, and a copy of
    state that somebody writes is none."""
    for unit in (original.unit, *original.sockets):
        done = subprocess.run(
            ["systemctl", "is-active", unit.name.full],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.stdout.strip() in _BUSY:
            name = unit.name.full
            raise NotifywrapError(
                f"{name} runs here: `systemctl stop {name}` while this runs, or use --lab"
            )


def filters_addresses(tag: str) -> bool:
    """Does IPAddressDeny= do anything here? It takes cgroup v2 and BPF, and is ignored without."""
    name = f"{tag}-filter.service"
    text = (
        "[Service]\nType=oneshot\nIPAddressDeny=any\n"
        f"ExecStart={sys.executable} -I -S -c {quote(_CONNECT)}\n"
    )
    with open(f"{UNITS}/{name}", "w", encoding="utf-8") as file:
        file.write(text)
    try:
        done = subprocess.run(["systemctl", "start", name], capture_output=True, check=False)
        return done.returncode == 0
    finally:
        end_units(tag)


def find_facts(
    original: Original, baseline: Observation, writes: tuple[str, ...], *, is_filtered: bool
) -> Facts:
    """Everything that candidates are made from."""
    unit = original.unit
    values = {key: unit.text(key) for section, key in unit.settings() if section == "Service"}
    ports = _ports(baseline)
    return Facts(
        values=values,
        is_dynamic=unit.flag("DynamicUser"),
        user="" if unit.text("User") in ("", "root", "0") else unit.text("User"),
        low_ports=() if original.sockets else tuple(port for port in ports if port < PRIVILEGED),
        writable=_writable(original),
        programs=_code(original, baseline),
        threads=baseline.threads,
        writes=writes,
        version=_systemd_version(),
        learned=list_restructurings(_seen(original, baseline, writes, is_filtered=is_filtered)),
        backends=_backends(original, baseline),
    )


def _backends(original: Original, baseline: Observation) -> tuple[Tier, ...]:
    """Where whatever it does on the network can be done through sockets of systemd: it listens on
    nothing but what they may be for, and reaches no other machine. Whether it asks for one, a round
    shows."""
    own = [int(each.rpartition(":")[2]) for each in _own_listeners(original, baseline)]
    if not baseline.backends or baseline.peers:
        return ()
    # It would be in the namespace of whoever comes first.
    if original.unit.words("JoinsNamespaceOf", section="Unit"):
        return ()
    if any(port >= PRIVILEGED for port in own) or not os.access(PROXY, os.X_OK):
        return ()
    return (offer_backends(original.unit.name.full, baseline.backends),)


def _seen(
    original: Original, baseline: Observation, writes: tuple[str, ...], *, is_filtered: bool
) -> Seen:
    unit = original.unit
    return Seen(
        unit=unit.name.full,
        can_jail=_can_jail(original),
        can_root=not any(unit.text(key) for key in _ROOTS),
        ports=_ports(baseline),
        connects=baseline.connects,
        peers=[*baseline.peers, *_name_servers(baseline)],
        usage=baseline.usage,
        states=[
            (specifier, word.partition(":")[0])
            for key, (specifier, _) in DIRECTORIES.items()
            for word in unit.words(key)
        ],
        runtime=[word.partition(":")[0] for word in unit.words("RuntimeDirectory")],
        writes=[*[path.lstrip("-+") for path in unit.words("ReadWritePaths")], *writes],
        programs=_names(original, baseline),
        writable=_writable(original),
        inherits=bool(original.sockets),
        names=_SOCKETS.get(os.path.basename(original.subject.target[0]), {}),
        # It would also keep clients out who come from elsewhere, as no exercise here does.
        filters_addresses=is_filtered and not _is_exposed(original, baseline),
    )


def _ports(baseline: Observation) -> list[int]:
    return sorted({int(address.rpartition(":")[2]) for address, _ in baseline.backlogs})


def _name_servers(baseline: Observation) -> list[str]:
    """Of this machine, when the service has asked for them."""
    try:
        with open(_RESOLVERS, encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        return []
    if os.path.realpath(_RESOLVERS) not in baseline.usage.own:
        return []
    named = [each[1].partition("%")[0] for each in words if each[:1] == ["nameserver"] and each[1:]]
    return [each for each in named if _is_address(each)]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_exposed(original: Original, baseline: Observation) -> bool:
    """Does it listen itself for other machines? systemd's sockets are not under its filter."""
    own = _own_listeners(original, baseline)
    return not all(address.startswith(("127.", "[::1]")) for address in own)


def _own_listeners(original: Original, baseline: Observation) -> list[str]:
    """Those that it has not from systemd."""
    inherited = {
        word.rpartition(":")[2]
        for each in original.sockets
        for word in each.words("ListenStream", section="Socket")
    }
    return [each for each, _ in baseline.backlogs if each.rpartition(":")[2] not in inherited]


def _writable(original: Original) -> tuple[str, ...]:
    """Mounts of its own, which NoExecPaths=/ does not cover. Where DynamicUser= is found to fit,
    the directories are below private/."""
    unit = original.unit
    found = [*writable_mounts(unit), "/tmp", "/var/tmp", "/dev/shm"]
    for path in writable_mounts(unit):
        base, name = os.path.split(path)
        if base in ("/var/lib", "/var/cache", "/var/log"):
            found.append(f"-{base}/private/{name}")
    return tuple(dict.fromkeys(found))


def _code(original: Original, baseline: Observation) -> tuple[str, ...]:
    """What ExecPaths= has to name: /usr/lib as a whole, as libraries are loaded later, too."""
    found = [*_names(original, baseline), *baseline.code]
    others = [path for path in found if not path.startswith(("/usr/lib/", "/lib/", "/lib64/"))]
    return (*dict.fromkeys(others), "/usr/lib")


def _names(original: Original, baseline: Observation) -> list[str]:
    """The programs under each name that they have: a link is not in a root directory by what it
    leads to, nor is a script's interpreter."""
    started = [
        command.path
        for key in ("ExecStart", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop")
        for command, _ in original.unit.commands(key)
    ]
    started += original.start.split()[:1]
    target = shutil.which(original.subject.target[0]) or original.subject.target[0]
    found: dict[str, None] = {}
    waiting = [*started, target, *baseline.usage.programs]
    while waiting:
        path = os.path.abspath(waiting.pop(0))
        if path in found or not os.path.exists(path):
            continue
        found[path] = None
        if os.path.islink(path):
            waiting.append(os.path.join(os.path.dirname(path), os.readlink(path)))
        waiting += _interpreter(path)
    return list(found)


def _interpreter(path: str) -> list[str]:
    """Of a script, and what env(1) would find."""
    try:
        with open(path, "rb") as file:
            line = file.readline(256)
    except OSError:
        return []
    words = line[2:].decode("utf-8", "replace").split() if line.startswith(b"#!") else []
    found = [shutil.which(word) for word in words if not word.startswith("-")]
    return [each for each in found if each]


def find_in_homes(original: Original) -> list[str]:
    """Programs of the service, interpreters as well, that sandboxes hide with the homes."""
    real = dict.fromkeys(os.path.realpath(path) for path in _names(original, Observation()))
    return [path for path in real if path.startswith(("/root/", "/home/"))]


def _can_jail(original: Original) -> bool:
    values = original.subject.values
    return (original.subject.is_ours and "--jail" not in values) or not original.is_notify


def _systemd_version() -> int:
    done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else 0
