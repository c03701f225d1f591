"""A hardened unit for any command, as text: every setting with its reason above it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.policy.duration import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Plan", "compose", "fill_in", "quote"]

# What systemd fills in where it stands in a command line: such a $ is no mere character.
_VARIABLES = {
    "${STATE_DIRECTORY}": "/var/lib/{name}",
    "${RUNTIME_DIRECTORY}": "/run/{name}",
    "${CREDENTIALS_DIRECTORY}": "/run/credentials/{name}.service",
}
_START_S = 120.0

# They write machine code at run time.
_JITS = (
    "beam.smp", "bun", "deno", "dotnet", "java", "julia", "luajit", "mono", "node", "nodejs",
    "php", "postgres", "pypy3", "ruby",
)  # fmt: skip


class Plan(NamedTuple):
    """What a unit is to be for.

    name        of the service, without .service
    wrapper     absolute path of notifywrap
    options     its options, as words
    command     argv of the target, its program as an absolute path
    programs    what ExecPaths= names beside the system's libraries
    user        "" for one that systemd makes up (DynamicUser=)
    low_port    a port below 1024 that it binds; 0 for none
    reload      what ExecReload= runs; "" for nothing
    has_jail    does notifywrap build a jail for it?
    needs_netlink   does it list the network interfaces, or notifywrap who accepts?
    main_is_target  is the target the main process, and notifywrap beside it?
    stop_signal what systemd sends to stop it
    watchdog_s  within this time a hang is acted on
    reload_s    how long a reload may take
    credentials names of what systemd is to load for it
    runtime     directories in /run that it needs
    """

    name: str
    wrapper: str
    options: tuple[str, ...]
    command: tuple[str, ...]
    programs: tuple[str, ...]
    user: str = ""
    low_port: int = 0
    reload: str = ""
    has_jail: bool = False
    needs_netlink: bool = False
    main_is_target: bool = False
    stop_signal: str = "TERM"
    watchdog_s: float = 30.0
    reload_s: float = 0.0
    credentials: tuple[str, ...] = ()
    runtime: tuple[str, ...] = ()


def compose(plan: Plan) -> str:
    """The text of the unit file."""
    parts = (_head(plan), _service(plan), _identity(plan), _privileges(plan), _files(plan))
    return "\n".join([*parts, _calls(plan), "[Install]\nWantedBy=multi-user.target\n"])


def quote(word: str) -> str:
    """*word* as one word of an Exec line (systemd.service(5), COMMAND LINES)."""
    text = word.replace("%", "%%").replace("$", "$$")
    for variable in _VARIABLES:
        text = text.replace(f"${variable}", variable)
    is_plain = all(char.isalnum() or char in "%$@/._:=,+-{}" for char in text)
    if text and is_plain:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'


def fill_in(words: Sequence[str], name: str) -> list[str]:
    """The words of a command line as the service *name* gets them from systemd."""
    found = list(words)
    for variable, value in _VARIABLES.items():
        found = [word.replace(variable, value.format(name=name)) for word in found]
    return found


def _head(plan: Plan) -> str:
    program = os.path.basename(plan.command[0])
    return f"""\
# Written by `notifywrap unit new`, to be read and changed.
[Unit]
Description={program.replace("%", "%%")}, under notifywrap
Wants=network-online.target
After=network-online.target
# An assertion that fails says so once and leaves the unit inactive: better than a restart loop.
AssertFileIsExecutable={plan.command[0].replace("%", "%%")}
# Ten starts in five minutes, then systemd gives up: its default would, after one second.
StartLimitIntervalSec=5min
StartLimitBurst=10
"""


def _service(plan: Plan) -> str:
    words = [plan.wrapper, *plan.options]
    start = " ".join(map(quote, words)) + " -- " + " ".join(map(quote, plan.command))
    start_s = max(_START_S, 2 * plan.reload_s)
    return f"""\
[Service]
# Active when the probes have passed, not when the process is there.
Type=notify
{_ways(plan)}\
ExecStart={start}
{_reload(plan)}\
# A target that stops working is acted on within this time.
WatchdogSec={_span(plan.watchdog_s)}
Restart=on-failure
RestartSec=2s
TimeoutStartSec={_span(start_s)}
TimeoutStopSec=30s
{_credentials(plan)}"""


def _span(seconds: float) -> str:
    return format_duration(seconds).replace(" ", "")


def _ways(plan: Plan) -> str:
    """Who speaks for the service, and what is sent to whom when it is stopped."""
    if plan.main_is_target:
        text = """\
# The target is the main process, and notifywrap beside it says how it is.
NotifyAccess=all
# The stop signal to the target, KILL to all.
KillMode=mixed
"""
    else:
        text = """\
# The stop signal to notifywrap, which passes it on once; KILL to all.
KillMode=mixed
"""
    return text if plan.stop_signal == "TERM" else f"{text}KillSignal=SIG{plan.stop_signal}\n"


def _reload(plan: Plan) -> str:
    if not plan.reload:
        return ""
    if plan.main_is_target:
        return f"ExecReload={plan.reload}\n"
    return f"""\
# `systemctl reload` returns when the probes pass again. Type=notify-reload (systemd 253) does too:
# then leave ExecReload= out.
ExecReload={plan.reload}
"""


def _credentials(plan: Plan) -> str:
    """What root has put into files that only root can read."""
    place = f"/etc/{plan.name}".replace("%", "%%")
    lines = [
        f"""\
# The secret {name}, for the service alone. Put it there as root:
#     mkdir -p {place} && (umask 077; cat >{place}/{name})
LoadCredential={name}:{place}/{name}
"""
        for name in (each.replace("%", "%%") for each in plan.credentials)
    ]
    return "".join(lines)


def _identity(plan: Plan) -> str:
    if plan.user:
        who = f"# Must exist: see systemd-sysusers(8).\nUser={plan.user}"
    else:
        who = "# A user of its own while it runs; its files are below /var/lib/private.\n"
        who += "DynamicUser=yes"
    runtime = f"""\
# For its sockets and the like in /run.
RuntimeDirectory={" ".join(plan.runtime)}
"""
    return f"""\
{who}
# The one place that it may write to, and where it starts.
StateDirectory={plan.name}
StateDirectoryMode=0700
WorkingDirectory=%S/{plan.name}
{runtime if plan.runtime else ""}\
UMask=0077
"""


def _privileges(plan: Plan) -> str:
    if plan.low_port:
        capabilities = f"""\
# For port {plan.low_port}. With a .socket unit it needs no capability, and PrivateUsers=yes works.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
"""
    else:
        capabilities = """\
# No capability, and root is nobody in its user namespace.
CapabilityBoundingSet=
PrivateUsers=yes
"""
    names = [os.path.basename(path) for path in (plan.command[0], *plan.programs)]
    jits = [name for name in names if name.rstrip("0123456789.") in _JITS]
    memory = """\
# No memory that can be written and executed.
MemoryDenyWriteExecute=yes
"""
    if jits:
        memory = f"# Without MemoryDenyWriteExecute=: {jits[0]} compiles at run time.\n"
    return f"""\
{capabilities}\
# No set-user-ID program helps it, and it makes none.
NoNewPrivileges=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictNamespaces=yes
{memory}\
KeyringMode=private
RemoveIPC=yes
TasksMax=512
"""


def _files(plan: Plan) -> str:
    state = f"/var/lib/{'' if plan.user else 'private/'}{plan.name}"
    places = " ".join((state, *(f"/run/{name}" for name in plan.runtime)))
    programs = " ".join(dict.fromkeys((plan.wrapper, *plan.programs)))
    return f"""\
# The file system is read-only but for the state directory, /tmp and /dev.
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
# Of other processes it sees nothing. ProcSubset=pid would hide /proc/sys and /proc/meminfo too,
# which many programs read: Go listens with a queue of 128 connections without them.
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
# Nothing is executed but these: a dropped file is not. / does not cover the mounts that are made
# for the service, so they are named. Add what the target itself starts, or a shell in a probe.
NoExecPaths=/ /tmp /var/tmp /dev/shm {places}
ExecPaths={programs} /usr/lib
"""


def _calls(plan: Plan) -> str:
    netlink = " AF_NETLINK" if plan.needs_netlink else ""
    landlock = """\
# What the jail is built with.
SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self
"""
    return f"""\
# AF_UNIX is for systemd's NOTIFY_SOCKET{
        ", AF_NETLINK to list interfaces or to see who accepts" if plan.needs_netlink else ""
    }.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6{netlink}
SystemCallArchitectures=native
SystemCallFilter=@system-service
{landlock if plan.has_jail else ""}\
# EPERM rather than death for what is not allowed.
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
