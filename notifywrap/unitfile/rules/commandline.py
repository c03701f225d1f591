"""notifywrap's own command line, and what it needs from the unit around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.policy.probe import (
    GrpcProbe,
    HttpProbe,
    LogProbe,
    TcpProbe,
    UnixProbe,
)
from notifywrap.unitfile.findings import About, Found, Rule, Severity
from notifywrap.unitfile.rules.daemon import DAEMONS
from notifywrap.unitfile.sandbox import allows_address, allows_call, allows_family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.policy.probe import Probe
    from notifywrap.unitfile.findings import Subject

__all__ = ["RULES"]

_LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
_COMMANDS = ("try", "probe", "reload", "check", "unit", "drill", "harden")
SANDBOX_SINCE = 254


def own_options(subject: Subject) -> Iterator[Found]:
    """What the wrapper itself would refuse at start."""
    run = subject.run
    if run is None:
        return
    if run.words[:1] and run.words[0] in _COMMANDS:
        text = f"`notifywrap {run.words[0]}` runs no service: the unit fails or ends at once"
        fix = "write ExecStart=notifywrap [OPTIONS] -- COMMAND"
        yield Found(run.line, text, fix, Severity.ERROR)
    elif run.understood and run.understood.error:
        text = f"notifywrap refuses to start (exit status 2): {run.understood.error}"
        fix = "correct it where it is set: ExecStart=, Environment=NOTIFYWRAP_... or --config"
        yield Found(run.line, text, fix, Severity.ERROR)


def own_doubts(subject: Subject) -> Iterator[Found]:
    """What the wrapper itself would say at start, and go on."""
    if subject.run and subject.run.understood:
        for doubt in subject.run.understood.doubts:
            fix = "notifywrap --help options says what each does"
            yield Found(subject.run.line, doubt, fix, Severity.HINT)


def probe_unreachable(subject: Subject) -> Iterator[Found]:
    """A probe that the unit's own packet filter or address families keep from its target."""
    for probe, addresses in _addresses(subject):
        if not any(allows_address(subject.unit, address) for address in addresses):
            yield Found(
                "IPAddressDeny",
                f"{probe.text}: IPAddressDeny= drops the probe's packets to {addresses[0]}",
                "add IPAddressAllow=localhost",
                Severity.ERROR,
            )
        families = {address: "AF_INET6" if ":" in address else "AF_INET" for address in addresses}
        if not any(allows_family(subject.unit, family) for family in families.values()):
            yield Found(
                "RestrictAddressFamilies",
                f"{probe.text}: the probe may not open a socket of {families[addresses[0]]}",
                f"add {families[addresses[0]]} to RestrictAddressFamilies=",
                Severity.ERROR,
            )
    allowed = subject.unit.words("RestrictNetworkInterfaces")
    if allowed and not allowed[0].startswith("~") and "lo" not in allowed:
        for probe, addresses in _addresses(subject):
            if all(each.startswith("127.") or each == "::1" for each in addresses):
                text = f"{probe.text}: RestrictNetworkInterfaces= has no loopback"
                fix = "add lo to RestrictNetworkInterfaces="
                yield Found("RestrictNetworkInterfaces", text, fix, Severity.ERROR)


def _addresses(subject: Subject) -> list[tuple[Probe, list[str]]]:
    """Each probe once, with the IP addresses that it connects to."""
    found = {
        probe.text: (probe, [address for address, _ in probe.addresses])
        for probe in subject.probes
        if isinstance(probe, TcpProbe | HttpProbe | GrpcProbe) and probe.addresses
    }
    return list(found.values())


def unverified_accept(subject: Subject) -> Iterator[Found]:
    """Of an AF_UNIX connection only netlink says who has accepted it."""
    if allows_family(subject.unit, "AF_NETLINK"):
        return
    for probe in dict.fromkeys(subject.probes):
        if isinstance(probe, UnixProbe):
            yield Found(
                "RestrictAddressFamilies",
                f"{probe.text}: without AF_NETLINK it cannot be seen whether the target accepts:"
                " a hung one passes",
                "add AF_NETLINK to RestrictAddressFamilies=, or ask it something (exec:)",
                Severity.HINT,
            )


def jail_syscalls(subject: Subject) -> Iterator[Found]:
    """The jail is built with system calls that @system-service does not have."""
    if subject.values.get("--jail") in (None, ["no"]):
        return
    groups = ["@sandbox", "@known"]
    if subject.version is not None and subject.version < SANDBOX_SINCE:
        groups = ["@known"]
    missing = [call for call in _LANDLOCK if not allows_call(subject.unit, call, groups)]
    if missing:
        yield Found(
            "SystemCallFilter",
            f"--jail: SystemCallFilter= forbids {missing[0]}: the target starts without Landlock,"
            " or not at all with --jail=strict",
            f"add SystemCallFilter={' '.join(_LANDLOCK)}",
        )


def jail_hides_ipv6(subject: Subject) -> Iterator[Found]:
    """Go asks whether there is IPv6 by binding port 0 (golang/go#77430). Tried: Traefik, Caddy
    (Go 1.26), etcd and Prometheus (1.19) listen on IPv4 alone then; programs of Go 1.27 do not."""
    jail = ",".join(subject.values.get("--jail", ())).split(",")
    ports = [rule for rule in jail if rule.startswith("bind=")]
    known = DAEMONS.get(subject.daemon)
    if subject.run and ports and "bind=0" not in ports and known and known.is_go:
        yield Found(
            subject.run.line,
            f"--jail: without bind=0 {subject.daemon} listens on IPv4 alone, unless it was built"
            " with Go 1.27 or later: Go binds port 0 to see whether there is IPv6",
            f"write {ports[0]},bind=0 in --jail (it then may listen on ports that the kernel"
            " chooses)",
            Severity.HINT,
        )


def pipe_forbidden(subject: Subject) -> Iterator[Found]:
    """@ipc is more than System V: pipe2(2) is in it."""
    if not allows_call(subject.unit, "pipe2", ("@ipc", "@system-service", "@known")):
        yield Found(
            "SystemCallFilter",
            "SystemCallFilter= forbids pipe2 (@ipc has it): notifywrap cannot start",
            "take @ipc back, or name its calls one by one (shmget, semget, msgget, mq_open, ...)",
            Severity.ERROR,
        )


def log_identifier(subject: Subject) -> Iterator[Found]:
    """Lines that pass through notifywrap carry its name."""
    has_log = any(isinstance(probe, LogProbe) for probe in subject.probes)
    if has_log and not subject.unit.text("SyslogIdentifier"):
        yield Found(
            "ExecStart",
            "log: the target's lines pass through notifywrap, and the journal names it as their"
            " source",
            f"add SyslogIdentifier={subject.daemon or 'NAME'}",
            Severity.HINT,
        )


RULES = (
    Rule("own-options", About.OURS, own_options),
    Rule("own-doubts", About.OURS, own_doubts),
    Rule("probe-unreachable", About.OURS, probe_unreachable),
    Rule("unverified-accept", About.OURS, unverified_accept),
    Rule("jail-syscalls", About.OURS, jail_syscalls),
    Rule("jail-hides-ipv6", About.OURS, jail_hides_ipv6),
    Rule("pipe-forbidden", About.OURS, pipe_forbidden),
    Rule("log-identifier", About.OURS, log_identifier),
)
