"""Sandboxes that keep the service from working, or do not keep what they promise."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from notifywrap.unitfile.findings import About, Found, Rule, Severity
from notifywrap.unitfile.rules.daemon import DAEMONS
from notifywrap.unitfile.sandbox import (
    DIRECTORIES,
    allows_family,
    covers,
    has_private_tmp,
    hides_homes,
    protect_system,
)
from notifywrap.unitfile.values import parse_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.unitfile.findings import Subject
    from notifywrap.unitfile.unit import Unit

__all__ = ["RULES"]

FEW = 64  # threads: a Go program on a large machine has more
SANDBOX_SINCE = 254
_ASSERTS = (
    "AssertPathExists",
    "AssertPathIsDirectory",
    "AssertFileIsExecutable",
    "AssertFileNotEmpty",
    "AssertDirectoryNotEmpty",
)
_AS_GOOD_AS_ROOT = {
    "CAP_SYS_ADMIN": "mount over every file, and more",
    "CAP_DAC_OVERRIDE": "read and write every file",
    "CAP_SYS_MODULE": "load code into the kernel",
    "CAP_SYS_PTRACE": "take over every process",
    "CAP_SYS_RAWIO": "write to disks and memory",
    "CAP_SETUID": "become root",
}
_VOLATILE = ("/run", "/tmp", "/dev", "/proc", "/sys")
_LATE = ("/run", "/tmp", "/var/tmp", "/mnt", "/media", "/dev/shm", "/srv/nfs", "/net")


def runs_as_root(subject: Subject) -> Iterator[Found]:
    """Root in a sandbox is root: most ways out of it need no more."""
    if subject.is_root:
        yield Found(
            "User",
            "the service runs as root: what breaks into it can write to /run and talk to systemd",
            "add User= or DynamicUser=yes (a .socket unit, or AmbientCapabilities="
            "CAP_NET_BIND_SERVICE, for ports below 1024)",
            Severity.HINT,
        )


def run_writable(subject: Subject) -> Iterator[Found]:
    """Each of these mounts /run anew, writable, whatever ProtectSystem= says (tried: systemd 252,
    257, 262)."""
    unit = subject.unit
    if not subject.is_root or protect_system(unit) != "strict":
        return
    proc = unit.text("ProtectProc", "default")
    guilty = [
        *(key for key in ("ProtectKernelTunables", "ProtectControlGroups") if unit.flag(key)),
        *(["ProtectProc"] if proc in ("noaccess", "invisible", "ptraceable") else []),
    ]
    if guilty:
        yield Found(
            guilty[0],
            f"{guilty[0]}= makes /run writable again under ProtectSystem=strict: as root an"
            " intruder can add units to /run/systemd/system",
            "run it as another user (User=, DynamicUser=)",
        )


def few_processes(subject: Subject) -> Iterator[Found]:
    """LimitNPROC= counts the threads of all processes of the user."""
    limit = parse_number(subject.unit.text("LimitNPROC"))
    if limit is None or limit > FEW:
        return
    fix = "write TasksMax= instead (of the service alone)"
    if subject.is_ours:
        fix += "; --jail forbids new processes and lets threads be"
    known = DAEMONS.get(subject.daemon)
    severity = Severity.WARNING if subject.is_ours or known else Severity.HINT
    if subject.is_root:  # others may start as root and become somebody else themselves
        text = f"LimitNPROC={limit} has no effect as long as the service is root"
    else:
        text = f"LimitNPROC={limit} counts every thread of all processes of this user"
        if limit == 1 and (subject.is_ours or (known and known.is_go)):
            severity = Severity.ERROR
            text += ": the service cannot even start"
    yield Found("LimitNPROC", text, fix, severity)


def private_users(subject: Subject) -> Iterator[Found]:
    """Capabilities of the user namespace do not count for the machine's network."""
    capabilities = subject.unit.words("AmbientCapabilities")
    if subject.unit.flag("PrivateUsers") and capabilities:
        yield Found(
            "PrivateUsers",
            f"PrivateUsers=yes: {capabilities[0]} counts inside its user namespace only: ports"
            " below 1024 are refused (EACCES)",
            "hand it its sockets with a .socket unit, or write PrivateUsers=no",
        )


def as_good_as_root(subject: Subject) -> Iterator[Found]:
    """A user in name only. Tried: MinIO's own unit with the first two lets an intruder do 49 of the
    drill's 66 things, and 30 without."""
    if subject.is_root or subject.unit.flag("PrivateUsers"):
        return
    for word, line in subject.unit.items("AmbientCapabilities"):
        if word.upper() in _AS_GOOD_AS_ROOT:
            yield Found(
                line,
                f"AmbientCapabilities={word} is as good as root: what breaks into the service can"
                f" {_AS_GOOD_AS_ROOT[word.upper()]}",
                f"take {word} out, or give it to a small service of its own that needs it",
            )


def notify_family(subject: Subject) -> Iterator[Found]:
    """NOTIFY_SOCKET is an AF_UNIX socket."""
    if not allows_family(subject.unit, "AF_UNIX"):
        who = "notifywrap refuses to start" if subject.is_ours else "READY=1 cannot be said"
        yield Found(
            "RestrictAddressFamilies",
            f"RestrictAddressFamilies= without AF_UNIX: NOTIFY_SOCKET cannot be reached, {who}",
            "add AF_UNIX to RestrictAddressFamilies=",
            Severity.ERROR,
        )


def unknown_group(subject: Subject) -> Iterator[Found]:
    """A group of system calls that an older systemd ignores."""
    for line in subject.unit.lines("SystemCallFilter"):
        words = line.value.removeprefix("~").split()
        if "@sandbox" in words and (subject.version or 999) < SANDBOX_SINCE:
            yield Found(
                line,
                f"@sandbox: systemd {subject.version} does not have that group and ignores it",
                "name the calls: landlock_create_ruleset landlock_add_rule landlock_restrict_self"
                " seccomp",
            )


def root_in_runtime(subject: Subject) -> Iterator[Found]:
    """The runtime directory is mounted into the new root, which is the runtime directory."""
    root = posixpath.normpath(subject.unit.text("RootDirectory", "/"))
    made = [f"/run/{word.partition(':')[0]}" for word in subject.unit.words("RuntimeDirectory")]
    if root in made:
        yield Found(
            "RootDirectory",
            f"RootDirectory={root} is the RuntimeDirectory= as well: the whole root shows again,"
            " writable, below itself",
            "make an empty directory of root's the RootDirectory=, with tmpfiles.d for example",
        )


def missing_paths(subject: Subject) -> Iterator[Found]:
    """A path without "-" that is not there: 226/NAMESPACE, before anything runs."""
    made = ["/tmp", "/var/tmp"] if has_private_tmp(subject.unit) else []
    made += _made_directories(subject.unit)
    for item, line in subject.unit.items("ReadWritePaths"):
        path = item.lstrip("+")
        if item.startswith("-") or path in made or "%" in path or _comes_with_boot(subject, path):
            continue
        if subject.unit.tree is not None:
            if not subject.unit.tree.exists(path):
                text = f"ReadWritePaths={path} is not there: the service fails with 226/NAMESPACE"
                fix = "create it, use StateDirectory=, or write -PATH if the service can do without"
                yield Found(line, text, fix, Severity.ERROR)
        elif _is_file_name(path):
            yield Found(
                line,
                f"ReadWritePaths={path} names a file: until somebody has created it the service"
                " fails with 226/NAMESPACE",
                "name its directory, or use StateDirectory=",
            )


def optional_file(subject: Subject) -> Iterator[Found]:
    """The "-" lets the service start without it, in a directory where it may create nothing.

    Tried: Traefik without its acme.json logs one line, and serves without certificates.
    """
    unit = subject.unit
    if protect_system(unit) != "strict":
        return
    writable = [item.lstrip("-+") for item in unit.words("ReadWritePaths")]
    writable += _made_directories(unit)
    for item, line in unit.items("ReadWritePaths"):
        path = item.lstrip("-+")
        is_inside = covers(writable, posixpath.dirname(path)) or _comes_with_boot(subject, path)
        if not item.startswith("-") or is_inside or not _is_file_name(path):
            continue
        outcome = "the service starts, and cannot create it"
        if subject.daemon == "traefik":
            outcome += ": it serves without its certificates"
        severity, when = Severity.WARNING, "is not there"
        if unit.tree is None:
            severity, when = Severity.HINT, "names a file, which may be missing"
        elif unit.tree.exists(path):
            continue
        fix = "use StateDirectory= and keep it there, or create it before the start"
        yield Found(line, f"ReadWritePaths=-{path} {when}: {outcome}", fix, severity)


def _made_directories(unit: Unit) -> list[str]:
    """What systemd makes for the service: /var/lib/x of StateDirectory=x, ..."""
    return [
        f"{parent}/{word.partition(':')[0]}"
        for key, parent in {**DIRECTORIES, "ConfigurationDirectory": "/etc"}.items()
        for word in unit.words(key)
    ]


def _is_file_name(path: str) -> bool:
    """By its looks, where nothing else is known."""
    return "." in posixpath.basename(path).strip(".") and not path.endswith(".d")


def _comes_with_boot(subject: Subject, path: str) -> bool:
    """Is it made anew at each boot, and the tree that is looked at not the one that runs?"""
    tree = subject.unit.tree
    return tree is not None and tree.root != "" and covers(_VOLATILE, path)


def asserts(subject: Subject) -> Iterator[Found]:
    """After a failed assertion nothing starts the unit again; Restart= does not see it."""
    for key in _ASSERTS:
        for line in subject.unit.lines(key, section="Unit"):
            path = line.value.lstrip("|!").strip()
            if line.value.lstrip("|").startswith("!") or not path.startswith("/") or "%" in path:
                continue
            tree = None if _comes_with_boot(subject, path) else subject.unit.tree
            fix = (
                "name what makes that path in After= (a mount: RequiresMountsFor=), or test for it"
                " in ExecStartPre=, whose failure Restart= acts on"
            )
            if any(path == late or path.startswith(f"{late}/") for late in _LATE):
                yield Found(
                    line,
                    f"{key}={path}: if it is not there yet when the unit starts, the unit stays"
                    " inactive, and Restart= does nothing",
                    fix,
                )
            elif tree is not None and not tree.exists(path):
                text = f"{key}={path} is not there: the unit stays inactive, without a failure"
                yield Found(
                    line, text, "create it, or write the path that is meant", Severity.ERROR
                )


def asserts_wrapper_alone(subject: Subject) -> Iterator[Found]:
    """An assertion that holds while the daemon itself is missing."""
    unit = subject.unit
    keys = ("AssertFileIsExecutable", "AssertPathExists")
    lines = [line for key in keys for line in unit.lines(key, section="Unit")]
    asserted = [line.value.lstrip("|") for line in lines]
    if subject.run is None or not subject.target or subject.target[0] in asserted:
        return
    for line, path in zip(lines, asserted, strict=True):
        if path == subject.run.program and subject.target[0].startswith("/"):
            yield Found(
                line,
                f"{line.key}= is about notifywrap alone: where {subject.target[0]} is missing the"
                " service is started again and again, with exit status 127",
                f"add {line.key}={subject.target[0]}",
                Severity.HINT,
            )


def hidden_program(subject: Subject) -> Iterator[Found]:
    """A virtual environment in a home directory, and a sandbox that hides homes."""
    unit = subject.unit
    hidden = hides_homes(unit)
    for command, line in subject.starts:
        for program in dict.fromkeys((command.path, *subject.target[:1])):
            if hidden and program.startswith(("/home/", "/root/")):
                text = f"ProtectHome= hides {program}: the service fails with 203/EXEC"
                fix = "install it elsewhere, below /opt or /usr/local for example"
                yield Found(line, text, fix, Severity.ERROR)
            elif program.startswith("/root/") and not subject.is_root:
                text = f"{program} lies in root's home, which this user may not enter: 203/EXEC"
                fix = "install it elsewhere, below /opt or /usr/local for example"
                yield Found(line, text, fix, Severity.ERROR)


RULES = (
    Rule("root", About.OURS, runs_as_root),
    Rule("run-writable", About.NOTIFY, run_writable, is_advice=True),
    Rule("few-processes", About.NOTIFY, few_processes),
    Rule("private-users", About.ANY, private_users, is_advice=True),
    Rule("as-good-as-root", About.NOTIFY, as_good_as_root, is_advice=True),
    Rule("notify-family", About.NOTIFY, notify_family),
    Rule("unknown-group", About.ANY, unknown_group),
    Rule("root-in-runtime", About.ANY, root_in_runtime),
    Rule("missing-path", About.ANY, missing_paths, is_advice=True),
    Rule("asserts", About.NOTIFY, asserts, is_advice=True),
    Rule("optional-file", About.NOTIFY, optional_file, is_advice=True),
    Rule("asserts-wrapper", About.OURS, asserts_wrapper_alone),
    Rule("hidden-program", About.ANY, hidden_program),
)
