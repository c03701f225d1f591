"""`notifywrap unit new [OPTIONS] -- COMMAND`: a hardened unit for a command, as a text."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from notifywrap.cli.check import understand
from notifywrap.cli.journal import Journal, show
from notifywrap.cli.options import ONCE, OPTIONS, PROBES, as_words, is_about_http, parse_arguments
from notifywrap.cli.presets import find_preset
from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.policy.events import Level
from notifywrap.policy.probe import GrpcProbe, HttpProbe, ListenProbe, TcpProbe
from notifywrap.unitfile.compose import Plan, compose
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.rules.daemon import DAEMONS, Daemon
from notifywrap.unitfile.unit import parse_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from notifywrap.policy.probe import Probe

__all__ = ["main"]

_OURS = {"--name": ONCE, "--user": ONCE, "--output": ONCE}
_PRIVILEGED = 1024  # ip_unprivileged_port_start
_USUAL = "/usr/local/bin/notifywrap"


def main(argv: Sequence[str]) -> int:
    """Write the unit to stdout or --output; raises NotifywrapError when it cannot be."""
    arguments = parse_arguments(argv, {**OPTIONS, **_OURS})
    if arguments.words or not arguments.command:
        raise SpecError("unit new: write notifywrap unit new [OPTIONS] -- COMMAND [ARG...]")
    command = (_find_program(arguments.command[0]), *arguments.command[1:])
    name = arguments.last("--name", os.path.basename(command[0])).removesuffix(".service")
    if not name or any(not (char.isalnum() or char in ":-_.\\@") for char in name):
        raise SpecError(f"--name: {name!r} is no name for a unit (letters, digits and -_.:)")
    asked = {key: list(given) for key, given in arguments.values.items() if key not in _OURS}
    _, known = find_preset(command[0])
    options = {**_stopping(known, asked), **asked}
    understood = understand([*as_words(options), "--", *command], {}, 30.0)
    if understood.error:
        raise SpecError(f"unit new: {understood.error}")
    is_probed = any(key in asked for key in PROBES)
    spec = understood.spec
    probes = spec.ready + spec.live if spec and is_probed else _usual_probes(known)
    daemon = DAEMONS.get(os.path.basename(command[0]), Daemon())
    reload = options.get("--reload") or known.get("--reload") or ["HUP" if daemon.reloads else "0"]
    plan = Plan(
        name=name,
        wrapper=_find_wrapper(),
        options=tuple(as_words(options)),
        command=command,
        programs=tuple(_needed(command[0])),
        user=arguments.last("--user", ""),
        low_port=_low_port(probes),
        can_reload=reload != ["0"],
        has_jail=options.get("--jail", ["no"]) != ["no"],
        needs_netlink=daemon.needs_netlink,
    )
    text = compose(plan)
    _put(text, arguments.last("--output", ""))
    _say_what_is_left(text, name, is_probed, bool(known))
    return 0


def _stopping(
    known: Mapping[str, list[str]], asked: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """Of a preset what the wrapper would not do unasked: how the daemon is stopped. Its probes are
    hints without being written down."""
    return {
        key: given
        for key, given in known.items()
        if key not in asked and key not in PROBES and key != "--reload" and not is_about_http(key)
    }


def _find_program(word: str) -> str:
    found = shutil.which(word)
    if found is None:
        raise SpecError(
            f"unit new: {word!r} is no program that can be found and executed here"
            " (write its absolute path)"
        )
    path = os.path.abspath(found)
    if path.startswith("/root/"):
        raise SpecError(
            f"unit new: {path!r} lies in root's home, where no service can go: install it elsewhere"
        )
    if path.startswith("/home/"):
        raise SpecError(
            f"unit new: {path!r} lies in a home, which the unit hides (ProtectHome=yes): install it"
            " in /usr/local or /opt"
        )
    return path


def _find_wrapper() -> str:
    """Where notifywrap is; if it is not installed, where it usually is."""
    beside = os.path.join(os.path.dirname(sys.executable), "notifywrap")
    for path in (_USUAL, "/usr/bin/notifywrap", beside):
        if os.access(path, os.X_OK) and not path.startswith(("/root/", "/home/")):
            return path
    return _USUAL


def _needed(program: str) -> list[str]:
    """What must be executable for the target and for notifywrap: programs, interpreters, and the
    virtual environment that a script belongs to, for the libraries in it."""
    found = [program, "/usr/bin/python3"]
    with open(program, "rb") as file:
        first = file.readline(256)
    words = first[2:].decode("utf-8", "surrogateescape").split() if first[:2] == b"#!" else []
    if words[:1] == ["/usr/bin/env"] and len(words) > 1:
        words[1:] = [path for path in [shutil.which(words[1])] if path]
    found += [word for word in words if word.startswith("/")]
    above = os.path.dirname(os.path.dirname(program))
    if os.path.exists(f"{above}/pyvenv.cfg"):
        found.append(above)
    elif above not in ("/usr", "/", "/usr/local") and os.path.isdir(f"{above}/lib"):
        found.append(f"{above}/lib")  # PostgreSQL, for one
    return found


def _usual_probes(known: Mapping[str, list[str]]) -> tuple[Probe, ...]:
    """The probes of a preset: they name its usual port."""
    words = as_words({key: given for key, given in known.items() if key in PROBES})
    spec = understand([*words, "--", "/bin/true"], {}, None).spec
    return spec.ready + spec.live if spec else ()


def _low_port(probes: Sequence[Probe]) -> int:
    """A port below 1024 that the target will have to bind; 0 for none."""
    for probe in probes:
        port = 0
        if isinstance(probe, ListenProbe):
            port = probe.port
        elif isinstance(probe, TcpProbe | HttpProbe | GrpcProbe) and probe.addresses:
            port = probe.addresses[0][1]
        if 0 < port < _PRIVILEGED:
            return port
    return 0


def _put(text: str, path: str) -> None:
    if not path:
        show(text)
        return
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise NotifywrapError(f"--output: {path!r} is there already; nothing was written") from None
    except OSError as error:
        raise NotifywrapError(f"--output: cannot write {path!r}: {error.strerror}") from None


def _say_what_is_left(text: str, name: str, is_probed: bool, has_preset: bool) -> None:
    """On stderr, where it does not get into the unit."""
    journal = Journal()
    for found in lint(parse_unit(text, f"{name}.service"), understand):
        journal.say(Level.WARNING, f"line {found.line}: {found.text}; {found.fix}")
    if not is_probed:
        guess = "its preset knows its usual page" if has_preset else "its sockets are guessed"
        journal.say(Level.NOTICE, f"no --probe given: {guess}; better name what clients ask for")
    if "\nExecReload=" in text and not has_preset:
        journal.say(Level.NOTICE, "a reload sends HUP; see --reload if that is not for it")
