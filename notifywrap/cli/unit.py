"""`notifywrap unit list|show|install|new`: the units that come along, and new ones."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.cli.check import understand
from notifywrap.cli.journal import Journal, show
from notifywrap.cli.options import ONCE, SWITCH, parse_arguments, suggest
from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.policy.events import Level
from notifywrap.unitfile.findings import Severity
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.tree import Tree
from notifywrap.unitfile.unit import load_named, parse_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DIRECTORY", "main"]

# The checkout's units/: here a symlink to it, in a wheel its copy.
DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(__file__)), "units")
REFUSED = 1
_UNITS = (".service", ".socket", ".target", ".timer", ".path", ".slice")
_SETTINGS = {".sysusers": "etc/sysusers.d", ".tmpfiles": "etc/tmpfiles.d"}
_AS_IN_ETC = "/systemd/system"  # a folder with this in it is laid out as /etc is


class Copy(NamedTuple):
    """One file to install."""

    source: str
    goal: str
    text: str


def main(argv: Sequence[str]) -> int:
    """Run `notifywrap unit ...`; returns the exit status."""
    word = argv[0] if argv else ""
    if word in ("--help", "-h") or any(each in ("--help", "-h") for each in argv[1:2]):
        from notifywrap.cli import about

        return about.main(("--help", "unit"))
    try:
        if word == "list":
            return _list(argv[1:])
        if word == "show":
            return _show(argv[1:])
        if word == "install":
            return _install(argv[1:])
        if word == "new":
            from notifywrap.cli import unitnew

            return unitnew.main(argv[1:])
        raise SpecError(
            f"unit: {word!r} is not known: notifywrap unit list, show NAME, install NAME or"
            " new -- COMMAND"
            if word
            else "unit: what about it? notifywrap unit list, show NAME, install NAME or new"
        )
    except NotifywrapError as error:
        Journal().say(Level.ERROR, str(error))
        return error.exit_status


def find_folders() -> dict[str, str]:
    """name -> path of every folder with a service in it, variants in folders below included."""
    found = {}
    for path, _, files in os.walk(DIRECTORY, followlinks=True):
        if any(name.endswith(".service") for name in files):
            folder = path.removesuffix(_AS_IN_ETC)
            found[os.path.relpath(folder, DIRECTORY)] = folder
    return found


def _list(argv: Sequence[str]) -> int:
    if argv:
        raise SpecError(f"unit list: {argv[0]!r}: it takes nothing")
    lines = []
    for name, path in sorted(find_folders().items()):
        place = path + _AS_IN_ETC if os.path.isdir(path + _AS_IN_ETC) else path
        services = [file for file in sorted(os.listdir(place)) if file.endswith(".service")]
        text = _read(f"{place}/{services[0]}")
        unit = parse_unit(text, services[0])
        said = unit.text("Description", section="Unit")
        if unit.name.instance == "":  # of a template: what stands between @ and .service
            instance = services[0].replace("@.", "@NAME.")
            said = f"{re.sub('%[iI]', 'NAME', said)} ({instance})"
        lines.append(f"{name:20}  {said}\n")
    show("".join(lines))
    return 0


def _show(argv: Sequence[str]) -> int:
    arguments = parse_arguments(argv, {})
    for copy in _copies(_folder("show", arguments.words), ""):
        show(f"# {copy.goal}\n{copy.text}\n")
    return 0


def _install(argv: Sequence[str]) -> int:
    known = {"--root": ONCE, "--force": SWITCH, "--notify-reload": SWITCH}
    arguments = parse_arguments(argv, known)
    root = arguments.last("--root", "/")
    if not os.path.isdir(root):
        raise SpecError(f"--root: {root!r} is not a directory")
    root = root.rstrip("/")
    copies = _copies(_folder("install", arguments.words), root)
    if arguments.last("--notify-reload", "no") != "no":
        copies += _drop_ins(copies, Tree(root).systemd_version())
    differing = [copy.goal for copy in copies if _is_other(copy)]
    if differing and arguments.last("--force", "no") == "no":
        raise NothingInstalled(
            f"{' and '.join(differing)} differ from what would be installed; nothing was changed"
            " (--force overwrites; or keep your changes in a drop-in: systemctl edit)"
        )
    for copy in copies:
        _write(copy)
        show(f"installed {copy.goal}\n")
    show(_next_steps(copies, root))
    show(_look_around(copies, root))
    return 0


class NothingInstalled(NotifywrapError):
    """Something else is where it should go."""

    exit_status = REFUSED


def _folder(what: str, words: Sequence[str]) -> str:
    folders = find_folders()
    if len(words) != 1:
        raise SpecError(f"unit {what}: name one of {', '.join(sorted(folders))}")
    name = words[0].removesuffix(".service").rstrip("/")
    if name not in folders:
        meant = suggest(name, folders)
        hint = f"did you mean {meant}?" if meant else f"there are {', '.join(sorted(folders))}"
        raise SpecError(f"unit {what}: there is no unit {name!r} ({hint})")
    return folders[name]


def _copies(folder: str, root: str) -> list[Copy]:
    """What of a folder goes where. One that has systemd/system/ is laid out as /etc is; else units
    and their drop-ins are beside each other, and .sysusers and .tmpfiles with them."""
    if os.path.isdir(folder + _AS_IN_ETC):
        return _copies_as_in_etc(folder, root)
    found = []
    for name in sorted(os.listdir(folder)):
        source = f"{folder}/{name}"
        stem, kind = os.path.splitext(name)
        if kind in _UNITS:
            found.append(Copy(source, f"{root}/etc/systemd/system/{name}", _read(source)))
        elif kind in _SETTINGS:
            found.append(Copy(source, f"{root}/{_SETTINGS[kind]}/{stem}.conf", _read(source)))
        elif kind == ".d" and os.path.isdir(source):
            for each in sorted(os.listdir(source)):
                goal = f"{root}/etc/systemd/system/{name}/{each}"
                found.append(Copy(f"{source}/{each}", goal, _read(f"{source}/{each}")))
    return found


def _copies_as_in_etc(folder: str, root: str) -> list[Copy]:
    found = []
    for path, _, files in os.walk(folder, followlinks=True):
        if path == folder:
            continue  # its README
        for name in files:
            source = f"{path}/{name}"
            goal = f"{root}/etc/{os.path.relpath(source, folder)}"
            found.append(Copy(source, goal, _read(source)))
    return sorted(found, key=lambda copy: copy.goal)


def _drop_ins(copies: Sequence[Copy], version: int | None) -> list[Copy]:
    """One with Type=notify-reload for each service."""
    from notifywrap.cli import unitreload

    found = []
    for copy in copies:
        if copy.goal.endswith(".service"):
            text = unitreload.make_drop_in(os.path.basename(copy.goal), copy.text, version)
            found.append(Copy("", f"{copy.goal}.d/{unitreload.NAME}", text))
    return found


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _is_other(copy: Copy) -> bool:
    try:
        return _read(copy.goal) != copy.text
    except FileNotFoundError:
        return os.path.islink(copy.goal)  # a mask of something
    except (OSError, UnicodeDecodeError):
        return True


def _write(copy: Copy) -> None:
    """All of it or nothing, whoever reads meanwhile."""
    half = f"{copy.goal}.notifywrap-new"
    try:
        os.makedirs(os.path.dirname(copy.goal), exist_ok=True)
        with open(half, "w", encoding="utf-8") as file:
            file.write(copy.text)
        os.chmod(half, stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH)
        os.rename(half, copy.goal)
    except OSError as error:
        raise NotifywrapError(
            f"cannot write {copy.goal}: {error.strerror} (are you root? --root DIR goes elsewhere)"
        ) from None


def _next_steps(copies: Sequence[Copy], root: str) -> str:
    """The commands that make it run."""
    goals = [copy.goal for copy in copies]
    chroot = f" --root={root}" if root else ""
    lines = []
    if any("/sysusers.d/" in goal for goal in goals):
        lines.append(f"systemd-sysusers{chroot}")
    if any("/tmpfiles.d/" in goal for goal in goals):
        lines.append(f"systemd-tmpfiles{chroot} --create")
    names = [
        os.path.basename(goal).replace("@.", "@NAME.")
        for goal in goals
        if goal.endswith((".socket", ".service")) and "\n[Install]" in f"\n{_read(goal)}"
    ]
    names.sort(key=lambda name: not name.endswith(".socket"))
    left = _find_sockets_left(copies, root)
    if left:
        now = "" if root else " --now"
        why = "of another variant: they would hold its ports"
        lines.append(f"systemctl{chroot} disable{now} {' '.join(left)}   # {why}")
    if not root:
        lines += ["systemctl daemon-reload", f"systemctl enable --now {' '.join(names)}"]
    else:
        lines.append(f"systemctl{chroot} enable {' '.join(names)}")
    return "next:\n" + "".join(f"  {line}\n" for line in lines)


def _find_sockets_left(copies: Sequence[Copy], root: str) -> list[str]:
    """The .socket units in /etc that are for a service of *copies* but came with other ones."""
    names = {os.path.basename(copy.goal) for copy in copies}
    directory = f"{root}/etc{_AS_IN_ETC}"
    found = []
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        path = f"{directory}/{name}"
        if name.endswith(".socket") and name not in names and os.path.isfile(path):
            own = name.removesuffix(".socket") + ".service"
            if parse_unit(_read(path), name).text("Service", own, "Socket") in names:
                found.append(name)
    return found


def _look_around(copies: Sequence[Copy], root: str) -> str:
    """What `notifywrap check` says about the units where they now are, and how to deal with it."""
    lines = []
    is_about_programs = False
    for copy in copies:
        is_unit = os.path.dirname(copy.goal).endswith(_AS_IN_ETC)
        if not is_unit or not copy.goal.endswith(".service") or "@." in copy.goal:
            continue
        unit = load_named(os.path.basename(copy.goal), root or "/")
        for found in lint(unit, understand):
            if found.severity is not Severity.HINT:
                is_about_programs = is_about_programs or found.rule == "exec-paths"
                lines.append(f"  {os.path.basename(found.path)}:{found.line}: {found.text}\n")
                lines.append(f"    {found.fix}\n")
    if is_about_programs:
        # In a drop-in an ExecPaths= adds to the list.
        lines.append(
            "  ExecPaths= must name notifywrap itself, its interpreter and what both load. With"
            " Debian's\n  python3, also in a virtual environment made with it, that is"
            " /usr/local/bin/notifywrap,\n  /usr/bin/python3 and /usr/lib (symlinks are followed);"
            " with another Python add its\n  directory, in a drop-in: systemctl edit"
            f" {os.path.basename(copies[0].goal)}\n"
        )
    return "before that (notifywrap check):\n" + "".join(lines) if lines else ""
