"""The units of a round: the service as it is, under another name, with copies in place of its data.

Whatever a round tries, everything but the copies is read-only for it, and /tmp is its own.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.drill.throwaway import DIRECTORIES, rename, settle
from notifywrap.errors import SpecError
from notifywrap.harden.rootdirectory import KEY
from notifywrap.harden.sockets import format_sockets, is_backend
from notifywrap.unitfile.compose import quote
from notifywrap.unitfile.findings import Subject
from notifywrap.unitfile.unit import load, parse_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from notifywrap.harden.model import Setting, Socket
    from notifywrap.unitfile.findings import Understand
    from notifywrap.unitfile.unit import Unit

__all__ = [
    "Copy",
    "Original",
    "compose",
    "find_copies",
    "in_trial",
    "merge",
    "places_of",
    "read_command",
    "read_unit",
    "root_of",
]

_STOP_LIMIT_S = 30
# When it runs, how often, and what happens then is the round's business; copies are made of the
# directories, and the guard says what is writable.
_LEFT_OUT = re.compile(
    r"Type|Restart.*|StartLimit.*|Timeout.*|RuntimeMaxSec|FailureAction|SuccessAction|BusName"
    r"|Sockets|(State|Cache|Logs|Runtime|Configuration)Directory|RuntimeDirectoryPreserve"
    r"|ReadWritePaths|ReadWriteDirectories|Slice|Delegate|PIDFile"
    r"|Standard(Output|Error)|LogNamespace|SyslogIdentifier|SyslogLevelPrefix"
)
_KEPT_OF_UNIT = ("After", "JoinsNamespaceOf")
_NOTIFIES = ("notify", "notify-reload")
_LAB = "/run/systemd/system.conf.d/lab.conf"  # there everything is a copy, see testing/labroot.py
_USUAL = ("/usr/local/bin/notifywrap", "/usr/bin/notifywrap")


class Original(NamedTuple):
    """The service that is to be hardened.

    subject     its unit, and what rules ask about it
    text        of the unit file; "" when it has files of its own, which stay as they are
    sockets     of its .socket units
    is_wrapped  does notifywrap start it already?
    is_notify   does it say itself when it is ready?
    """

    subject: Subject
    sockets: tuple[Unit, ...] = ()
    text: str = ""

    @property
    def unit(self) -> Unit:
        return self.subject.unit

    @property
    def is_notify(self) -> bool:
        return self.subject.is_notify

    @property
    def start(self) -> str:
        """ExecStart= with notifywrap before it, for a service that cannot tell when it is ready;
        "" for one that can."""
        if self.is_notify:
            return ""
        starts = [line.value for line in self.unit.lines("ExecStart") if line.value]
        return f"{_wrapper()} -- {starts[-1]}"


class Copy(NamedTuple):
    """A path of the service's own, and what stands for it in a round."""

    path: str
    copy: str
    is_directory_of_systemd: bool


def read_unit(subject: Subject) -> Original:
    """The service of a unit. Raises SpecError when it is nothing to start."""
    unit = subject.unit
    if unit.name.suffix != ".service":
        raise SpecError(f"{unit.path}: not a service")
    if not subject.starts:
        raise SpecError(f"{unit.path}: has no ExecStart= that can be understood")
    if unit.text("Type") == "forking":
        raise SpecError(
            f"{unit.path}: Type=forking: let it run in the foreground (Type=exec), or start it with"
            " notifywrap --pidfile and Type=notify"
        )
    for key in ("ExecStart", "ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost"):
        for command, line in unit.commands(key):
            if set("+!") & set(command.prefixes) and not os.path.exists(_LAB):
                raise SpecError(
                    f"{line.path}:{line.line}: {key}= runs outside of the sandbox, and so on real"
                    " data: use --lab"
                )
    for command, line in unit.commands("ExecStart"):
        _check_place(command.path, f"{line.path}:{line.line}: ExecStart=")
    for line in unit.lines("JoinsNamespaceOf", section="Unit"):
        if any(is_backend(unit.name.full, name) for name in line.value.split()):
            raise SpecError(
                f"{line.path}:{line.line}: a round would be in the service's own namespace, with"
                " its /tmp: undo the former result first, as this file says"
            )
    return Original(subject, tuple(_find_sockets(unit)))


def read_command(
    options: Sequence[str], command: Sequence[str], understand: Understand
) -> Original:
    """A command, as a unit that has nothing but what it needs. Raises SpecError."""
    program = shutil.which(command[0]) if command else None
    if program is None:
        raise SpecError(
            f"harden: {' '.join(command[:1])!r} is no program that can be executed here"
        )
    for path in (_wrapper(), os.path.abspath(program)):
        _check_place(path, "harden: ")
    words = [_wrapper(), *options, "--", os.path.abspath(program), *command[1:]]
    name = os.path.basename(program)
    text = (
        f"[Unit]\nDescription={name}, under notifywrap\nWants=network-online.target\n"
        "After=network-online.target\n\n[Service]\nType=notify\n"
        f"ExecStart={' '.join(map(quote, words))}\n"
        "WatchdogSec=30s\nRestart=on-failure\nRestartSec=2s\nKillMode=mixed\n"
        f"StateDirectory={name}\nWorkingDirectory=%S/{name}\n"
    )
    return Original(Subject(parse_unit(text, f"{name}.service"), understand), text=text)


def _check_place(path: str, where: str) -> None:
    for place in ("/tmp/", "/var/tmp/"):
        if os.path.realpath(path).startswith(place):
            raise SpecError(
                f"{where}{path!r} is below {place[:-1]}, of which each round has one of its own:"
                " install it elsewhere, in /usr/local for example"
            )


def find_copies(original: Original, tag: str, more: Iterable[str] = ()) -> tuple[Copy, ...]:
    """The paths that the service may write to, as far as the unit says so, and *more*."""
    unit = original.unit
    found = []
    for key, (_, base) in DIRECTORIES.items():
        for number, word in enumerate(unit.words(key)):
            name, suffix = word.partition(":")[0], f"-{number}" if number else ""
            found.append(Copy(f"{base}/{name}", f"{base}/{tag}{suffix}", True))
    others = [path.lstrip("-+") for path in unit.words("ReadWritePaths")]
    others = [path for path in [*others, *more] if os.path.exists(path)]
    known = [each.path for each in found]
    for number, path in enumerate(dict.fromkeys(others)):
        if not any(path == each or path.startswith(f"{each}/") for each in known):
            found.append(Copy(path, f"/var/lib/{tag}-copy-{number}", False))
    return tuple(found)


def places_of(copy: Copy) -> tuple[str, ...]:
    """Where a round sees it: systemd moves it below private/ for DynamicUser=."""
    base, name = os.path.split(copy.copy)
    return copy.path, os.path.realpath(copy.path), copy.copy, f"{base}/private/{name}"


def compose(
    original: Original,
    tag: str,
    settings: Sequence[Setting],
    sockets: Sequence[Socket] = (),
    copies: Sequence[Copy] = (),
    start_limit_s: float = 60.0,
) -> dict[str, str]:
    """The texts of the units of a round: file name -> text."""
    unit = original.unit
    moves = tuple(rename(unit, tag))
    own = {
        f"{tag}-{number}.socket": _socket(one, tag) for number, one in enumerate(original.sockets)
    }
    name = f"{tag}.service"
    own |= format_sockets(name, [one for one in sockets if not one.is_backend])
    beside = format_sockets(name, [one for one in sockets if one.is_backend])
    joined = [name for name in beside if name.endswith(".socket")]
    lines = [
        "[Unit]",
        f"Description=What {unit.name.full} stands (notifywrap harden)",
        *[
            f"{key}={settle(line.value, unit)}"
            for key in _KEPT_OF_UNIT
            for line in unit.lines(key, section="Unit")
        ],
        *[f"{word}={' '.join([*own, *joined])}" for word in ("Requires", "After") if own or joined],
        f"JoinsNamespaceOf={' '.join(joined)}" if joined else "",
        "StartLimitIntervalSec=0",
        "[Service]",
        *_own_lines(original, moves),
        *_directories(unit, tag),
        *[f"BindPaths=-{each.copy}:{_inside(each.path)}" for each in copies],
        f"Type={unit.choice('Type', _NOTIFIES, 'notify')}",
        f"Sockets={' '.join(own)}" if own else "",
        "Restart=no",
        f"TimeoutStartSec={start_limit_s:.0f}",
        f"TimeoutStopSec={_STOP_LIMIT_S}",
        *_tried(settings, tag, moves),
        # The guard, whatever is tried: no round writes to anything but its copies.
        "ProtectSystem=strict",
        "ReadOnlyPaths=-+/run",  # writable again with ProtectKernelTunables= and others (252)
        "" if unit.text("PrivateTmp") == "disconnected" else "PrivateTmp=yes",
        *[f"ReadWritePaths=-+{_inside(each.path)}" for each in copies],
    ]
    return {name: "\n".join([*lines, ""]), **own, **beside}


def _tried(
    settings: Sequence[Setting], tag: str, moves: Sequence[tuple[str, str]]
) -> Iterator[str]:
    for one in in_trial(settings, tag):
        # What it writes to is there already, as a copy.
        is_there = one.key == "BindPaths" and ":" not in one.value
        if one.section == "Service" and not is_there:
            yield f"{one.key}={_move(one.value, moves)}"


def in_trial(settings: Sequence[Setting], tag: str) -> list[Setting]:
    """With a root directory that is there already, in place of the result's."""
    return [one._replace(value=root_of(tag)) if one.key == KEY else one for one in settings]


def root_of(tag: str) -> str:
    """What stands for the root directory of the result, which is not there yet."""
    return f"/run/{tag}-root"


def _own_lines(original: Original, moves: Sequence[tuple[str, str]]) -> list[str]:
    unit = original.unit
    lines = [
        f"{key}={_move(settle(line.value, unit), moves)}"
        for section, key in unit.settings()
        if section == "Service" and not _LEFT_OUT.fullmatch(key)
        for line in unit.lines(key)
        if key != "ExecStart" or original.is_notify
    ]
    if original.start:
        lines.append(f"ExecStart={_move(settle(original.start, unit), moves)}")
    return lines


def _directories(unit: Unit, tag: str) -> list[str]:
    lines = []
    for key in DIRECTORIES:
        words = unit.words(key)
        names = [f"{tag}-{number}" if number else tag for number in range(len(words))]
        lines += [f"{key}={' '.join(names)}"] if names else []
    configured = unit.words("ConfigurationDirectory")
    paths = ":".join(f"/etc/{word}" for word in configured)
    return [*lines, f"Environment=CONFIGURATION_DIRECTORY={paths}"] if paths else lines


def _inside(path: str) -> str:
    """Where a mount is put: a symbolic link is not followed by everybody in the same way."""
    return os.path.realpath(path)


def _move(text: str, moves: Sequence[tuple[str, str]]) -> str:
    for old, new in moves:
        text = re.sub(rf"(?<![\w/.]){re.escape(old)}(?![\w.-])", new, text)
    return text


def _find_sockets(unit: Unit) -> list[Unit]:
    names = unit.words("Sockets") or [f"{unit.name.prefix}.socket"]
    beside = os.path.dirname(os.path.abspath(unit.path))
    paths = [os.path.join(beside, name) for name in names]
    return [load(path) for path in paths if os.path.exists(path)]


def _socket(one: Unit, tag: str) -> str:
    lines = [
        f"{key}={settle(line.value, one)}"
        for section, key in one.settings()
        if section == "Socket" and key not in ("Service", "FileDescriptorName")
        for line in one.lines(key, section=section)
    ]
    named = one.text("FileDescriptorName", one.name.full, section="Socket")
    lines += [f"FileDescriptorName={named}", f"Service={tag}.service"]
    return "\n".join(["[Socket]", *lines, ""])


def _wrapper() -> str:
    beside = os.path.join(os.path.dirname(sys.executable), "notifywrap")
    return next((path for path in (*_USUAL, beside) if os.access(path, os.X_OK)), _USUAL[0])


def merge(original: Original, settings: Sequence[Setting]) -> str:
    """The unit under its own name with *settings* added: all lines of it and of its drop-ins."""
    unit = original.unit
    sections: dict[str, list[str]] = {}
    for section, key in unit.settings():
        for line in unit.lines(key, section=section):
            sections.setdefault(section, []).append(f"{key}={line.value}")
    if original.start:
        more = ["Type=notify", "ExecStart=", f"ExecStart={original.start}"]
        sections.setdefault("Service", []).extend(more)
    for each in settings:
        sections.setdefault(each.section, []).append(f"{each.key}={each.value}")
    return "\n".join(
        line for section, lines in sections.items() for line in (f"[{section}]", *lines, "")
    )
