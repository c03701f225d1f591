"""What is known of a service before the search: from its unit, and from its baseline."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from notifywrap.errors import NotifywrapError
from notifywrap.harden.candidates import Facts
from notifywrap.harden.restructure import list_restructurings
from notifywrap.harden.sweeper import UNITS, end_units
from notifywrap.unitfile.compose import quote
from notifywrap.unitfile.sandbox import writable_mounts

if TYPE_CHECKING:
    from notifywrap.harden.model import Observation
    from notifywrap.harden.trial import Original

__all__ = ["check_idle", "filters_addresses", "find_facts"]

# Daemons that look for a socket by its name: those of the units that they are shipped with.
_SOCKETS = {"traefik": {80: "web", 443: "websecure"}}
# Nobody listens on port 9: refused (111) is what comes back at once where nothing drops it.
_CONNECT = (
    "import socket, sys; one = socket.socket(); one.settimeout(0.3);"
    " sys.exit(one.connect_ex(('127.0.0.1', 9)) == 111)"
)
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
    ports = sorted({int(address.rpartition(":")[2]) for address, _ in baseline.backlogs})
    inherits = bool(original.sockets)
    return Facts(
        values=values,
        is_dynamic=unit.flag("DynamicUser"),
        user="" if unit.text("User") in ("", "root", "0") else unit.text("User"),
        low_ports=() if inherits else tuple(port for port in ports if port < 1024),
        writable=_writable(original),
        programs=_programs(original, baseline.code),
        threads=baseline.threads,
        writes=writes,
        version=_systemd_version(),
        learned=list_restructurings(
            can_jail=_can_jail(original),
            ports=ports,
            connects=baseline.connects,
            states=[word.partition(":")[0] for word in unit.words("StateDirectory")],
            inherits=inherits,
            names=_SOCKETS.get(os.path.basename(original.subject.target[0]), {}),
            # It would also keep clients out who come from elsewhere, as no exercise here does.
            filters_addresses=is_filtered and not _is_exposed(original, baseline),
        ),
    )


def _is_exposed(original: Original, baseline: Observation) -> bool:
    """Does it listen itself for other machines? systemd's sockets are not under its filter."""
    inherited = {
        word.rpartition(":")[2]
        for each in original.sockets
        for word in each.words("ListenStream", section="Socket")
    }
    own = [each for each, _ in baseline.backlogs if each.rpartition(":")[2] not in inherited]
    return not all(address.startswith(("127.", "[::1]")) for address in own)


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


def _programs(original: Original, code: tuple[str, ...]) -> tuple[str, ...]:
    """What ExecPaths= has to name: /usr/lib as a whole, as libraries are loaded later, too."""
    started = [
        command.path
        for key in ("ExecStart", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop")
        for command, _ in original.unit.commands(key)
    ]
    started += original.start.split()[:1]
    found = [*started, *[os.path.realpath(path) for path in started], *code]
    others = [path for path in found if not path.startswith(("/usr/lib/", "/lib/", "/lib64/"))]
    return (*dict.fromkeys(others), "/usr/lib")


def _can_jail(original: Original) -> bool:
    values = original.subject.values
    return (original.subject.is_ours and "--jail" not in values) or not original.is_notify


def _systemd_version() -> int:
    done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else 0
