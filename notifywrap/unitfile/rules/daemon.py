"""What is known of particular daemons, as data: what they say to systemd, and what they need."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.policy.duration import format_duration
from notifywrap.unitfile.findings import About, Found, Rule, Severity
from notifywrap.unitfile.sandbox import allows_family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.unitfile.findings import Subject

__all__ = ["DAEMONS", "RULES"]


class Daemon(NamedTuple):
    """What is known of one.

    says_ready     does it say READY=1 when it is told to nothing special?
    pings          does it ever say WATCHDOG=1?
    is_go          its listen backlog is /proc/sys/net/core/somaxconn, if it can read that
    stop_s         how long its clean stop may take by default
    needs_netlink  it lists the network interfaces, and ends when it cannot
    needs_proc     it ends where /proc has nothing but processes
    reloads        does HUP, or what its preset has in place of it, reload it?
    """

    says_ready: bool = False
    pings: bool = False
    is_go: bool = False
    stop_s: float = 0.0
    needs_netlink: bool = False
    needs_proc: bool = False
    reloads: bool = True


# Each seen in its source or tried; of what is not known nothing is said.
DAEMONS = {
    "alertmanager": Daemon(is_go=True),
    "caddy": Daemon(says_ready=True, is_go=True),
    "etcd": Daemon(says_ready=True, is_go=True),
    # Tried: `juicefs version` panics without /proc/sys/kernel/osrelease (modernc.org/fileutil).
    "juicefs": Daemon(is_go=True, needs_netlink=True, needs_proc=True),
    "minio": Daemon(says_ready=True, is_go=True, needs_netlink=True),
    "nats-server": Daemon(is_go=True),
    "nginx": Daemon(),
    "postgres": Daemon(says_ready=True),
    "prometheus": Daemon(is_go=True),
    "prometheus-alertmanager": Daemon(is_go=True),
    "prometheus-node-exporter": Daemon(is_go=True),
    "redis-server": Daemon(says_ready=True, reloads=False),
    # Its entry points' graceTimeOut is 10 s: tried, under keep-alive load a stop takes all of it.
    "traefik": Daemon(says_ready=True, pings=True, is_go=True, stop_s=10.0),
    "valkey-server": Daemon(says_ready=True, reloads=False),
}
_MARGIN_S = 2.0


def silent(subject: Subject) -> Iterator[Found]:
    """Type=notify, and nobody who says READY=1."""
    known = DAEMONS.get(subject.daemon)
    if known is None or subject.is_ours:
        return
    if not known.says_ready:
        yield Found(
            "Type",
            f"Type={subject.type}: {subject.daemon} never says READY=1: the start times out",
            f"wrap it: ExecStart=notifywrap -- {subject.daemon} ...",
            Severity.ERROR,
        )
    elif subject.watchdog_s is not None and not known.pings:
        length = format_duration(subject.watchdog_s)
        yield Found(
            "WatchdogSec",
            f"{subject.daemon} never says WATCHDOG=1: systemd kills it every {length}",
            f"wrap it: ExecStart=notifywrap -- {subject.daemon} ...",
            Severity.ERROR,
        )


def stop_too_short(subject: Subject) -> Iterator[Found]:
    """SIGKILL in the middle of a clean stop."""
    unit = subject.unit
    stop_s = unit.span("TimeoutStopSec", "TimeoutSec", default=90.0)
    known = DAEMONS.get(subject.daemon, Daemon())
    if 0 < stop_s < known.stop_s + _MARGIN_S and known.stop_s:
        takes = format_duration(known.stop_s)
        yield Found(
            "TimeoutStopSec" if unit.lines("TimeoutStopSec") else "TimeoutSec",
            f"TimeoutStopSec={format_duration(stop_s)}: {subject.daemon} may take {takes} to finish"
            " its requests, and is killed before",
            f"write TimeoutStopSec={known.stop_s + 5:g}s",
        )


def netlink_needed(subject: Subject) -> Iterator[Found]:
    """A daemon that ends because it cannot list the interfaces."""
    known = DAEMONS.get(subject.daemon, Daemon())
    if known.needs_netlink and not allows_family(subject.unit, "AF_NETLINK"):
        yield Found(
            "RestrictAddressFamilies",
            f"{subject.daemon} lists the network interfaces with AF_NETLINK, and ends without it",
            "add AF_NETLINK to RestrictAddressFamilies=",
            Severity.ERROR,
        )


def short_backlog(subject: Subject) -> Iterator[Found]:
    """Without /proc/sys a Go program listens with a queue of 128 (golang/go#79002)."""
    known = DAEMONS.get(subject.daemon, Daemon())
    unit = subject.unit
    is_short = known.is_go and not known.needs_proc and not subject.has_sockets
    if is_short and unit.text("ProcSubset") == "pid":
        yield Found(
            "ProcSubset",
            f"ProcSubset=pid hides somaxconn: {subject.daemon} listens with a queue of 128, not"
            " 4096, and a burst of connections takes a second each",
            "write ProcSubset=all, or hand it its sockets with a .socket unit and Sockets=",
        )


def proc_subset(subject: Subject) -> Iterator[Found]:
    """Who needs more of /proc than its processes."""
    if subject.unit.text("ProcSubset") != "pid":
        return
    if DAEMONS.get(subject.daemon, Daemon()).needs_proc:
        yield Found(
            "ProcSubset",
            f"ProcSubset=pid hides /proc/sys: {subject.daemon} ends at once (a panic at init)",
            "write ProcSubset=all",
            Severity.ERROR,
        )
    elif _has_psutil(subject):
        # Tried: psutil 7.2.2. Without it few programs miss anything: our own units for gunicorn
        # and uvicorn have the setting.
        yield Found(
            "ProcSubset",
            "ProcSubset=pid hides /proc/stat and /proc/meminfo, and the target has psutil in its"
            " virtual environment: cpu_percent(), virtual_memory(), create_time() and children()"
            " fail",
            "see whether it calls them, or write ProcSubset=all",
            Severity.HINT,
        )


def _has_psutil(subject: Subject) -> bool:
    """Is it in the virtual environment that the target's program belongs to?"""
    tree = subject.unit.tree
    if tree is None or not subject.target:
        return False
    home = posixpath.dirname(posixpath.dirname(subject.target[0]))
    libraries = [
        f"{home}/lib/{each}" for each in tree.entries(f"{home}/lib") if each[:6] == "python"
    ]
    return tree.exists(f"{home}/pyvenv.cfg") and any(
        tree.exists(f"{each}/site-packages/psutil") for each in libraries
    )


RULES = (
    Rule("silent", About.NOTIFY, silent),
    Rule("stop-too-short", About.NOTIFY, stop_too_short, is_advice=True),
    Rule("netlink-needed", About.ANY, netlink_needed),
    Rule("short-backlog", About.ANY, short_backlog, is_advice=True),
    Rule("proc-subset", About.ANY, proc_subset),
)
