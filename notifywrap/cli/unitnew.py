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
from notifywrap.cli.unitneeds import SHELLS, commands_of, find_program, needs_of
from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.policy.events import Level
from notifywrap.policy.probe import (
    FileProbe,
    GrpcProbe,
    HttpProbe,
    ListenProbe,
    TcpProbe,
    UnixProbe,
)
from notifywrap.unitfile.compose import Plan, compose, fill_in
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.rules.daemon import DAEMONS, Daemon
from notifywrap.unitfile.unit import parse_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from notifywrap.policy.probe import Probe
    from notifywrap.policy.spec import Spec
    from notifywrap.unitfile.findings import Understood

__all__ = ["main"]

_OURS = {"--name": ONCE, "--user": ONCE, "--output": ONCE}
_PRIVILEGED = 1024  # ip_unprivileged_port_start
_USUAL = "/usr/local/bin/notifywrap"
_WATCHDOG_S = 30.0


def main(argv: Sequence[str]) -> int:
    """Write the unit to stdout or --output; raises NotifywrapError when it cannot be."""
    arguments = parse_arguments(argv, {**OPTIONS, **_OURS})
    if arguments.words or not arguments.command:
        raise SpecError("unit new: write notifywrap unit new [OPTIONS] -- COMMAND [ARG...]")
    command = (find_program(arguments.command[0], "unit new"), *arguments.command[1:])
    name = arguments.last("--name", os.path.basename(command[0])).removesuffix(".service")
    if not name or any(not (char.isalnum() or char in ":-_.\\@") for char in name):
        raise SpecError(f"--name: {name!r} is no name for a unit (letters, digits and -_.:)")
    asked = {key: list(given) for key, given in arguments.values.items() if key not in _OURS}
    _, known = find_preset(command[0])
    words = as_words({**_stopping(known, asked), **asked})
    # Without the watchdog, whose time is chosen by what is asked for.
    understood = understand(fill_in([*words, "--", *command], name), {}, None)
    if understood.error:
        raise SpecError(f"unit new: {understood.error}")
    is_probed = any(key in understood.values for key in PROBES)
    plan = _plan(name, words, command, understood, known, is_probed)
    text = compose(plan._replace(user=arguments.last("--user", "")))
    _put(text, arguments.last("--output", ""))
    _say_what_is_left(text, plan, understood.spec, is_probed, bool(known))
    return 0


def _plan(
    name: str,
    words: Sequence[str],
    command: tuple[str, ...],
    understood: Understood,
    known: Mapping[str, list[str]],
    is_probed: bool,
) -> Plan:
    spec, values = understood.spec, understood.values
    probes = spec.ready + spec.live if spec and is_probed else _usual_probes(known)
    daemon = DAEMONS.get(os.path.basename(command[0]), Daemon())
    wrapper = _find_wrapper()
    programs = [*needs_of(os.path.realpath(wrapper)), "/usr/bin/python3"]
    for what, program in (("", command[0]), *commands_of(spec)):
        programs += needs_of(find_program(program, what))
    is_target = values.get("--main") == ["target"]
    reload = values.get("--reload") or known.get("--reload") or ["HUP" if daemon.reloads else "0"]
    kill = shutil.which("kill") if is_target and reload != ["0"] else None
    if kill:
        programs.append(kill)
    # What systemd sends to stop: the wrapper has to know it, and a target beside it gets it itself.
    mapped = dict(text.split("=", 1) for text in known.get("--map-signal", ()))
    stop = mapped.get("TERM", "TERM") if is_target else values.get("--stop-signal", ["TERM"])[0]
    round_s = spec.period_s + spec.timeout_s if spec else 0.0
    return Plan(
        name=name,
        wrapper=wrapper,
        options=tuple(words),
        command=command,
        programs=tuple(dict.fromkeys(programs)),
        low_port=_low_port(probes),
        reload=_reload(wrapper, kill, reload[0], is_target=is_target),
        has_jail=values.get("--jail", ["no"]) != ["no"],
        # Of an AF_UNIX connection nothing else says whether it was accepted.
        needs_netlink=daemon.needs_netlink or any(isinstance(each, UnixProbe) for each in probes),
        main_is_target=is_target,
        stop_signal=stop.upper().removeprefix("SIG"),
        watchdog_s=_WATCHDOG_S if round_s < _WATCHDOG_S * 0.75 else 2 * round_s,
        reload_s=spec.reload_timeout_s if spec else 0.0,
        credentials=tuple(dict.fromkeys(_credentials(values))),
        runtime=tuple(dict.fromkeys(_below_run(spec, name, (*words, *command)))),
    )


def _reload(wrapper: str, kill: str | None, how: str, *, is_target: bool) -> str:
    """What ExecReload= runs; "" for nothing."""
    if is_target and kill:
        return f"{kill} -{how.upper().removeprefix('SIG')} $MAINPID"
    return "" if is_target or how == "0" else f"{wrapper} reload $MAINPID"


def _credentials(values: Mapping[str, list[str]]) -> Iterator[str]:
    for text in values.get("--credential", ()):
        yield text.partition(":")[0]
    for text in values.get("--http-header-credential", ()):
        yield text.rpartition(":")[2]


def _below_run(spec: Spec | None, name: str, words: Sequence[str]) -> Iterator[str]:
    """The directories in /run that the target puts sockets and files into."""
    if any("${RUNTIME_DIRECTORY}" in word for word in words):
        yield name
    if spec is None:
        return
    paths = [spec.pidfile]
    for probe in (*spec.ready, *spec.live):
        if isinstance(probe, ListenProbe | UnixProbe | HttpProbe | FileProbe):
            paths.append(probe.path)
    for path in paths:
        parts = path.replace("/var/run/", "/run/", 1).split("/")
        if parts[:2] == ["", "run"] and len(parts) > 3:
            yield parts[2]


def _stopping(
    known: Mapping[str, list[str]], asked: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """Of a preset what the wrapper would not do unasked: how the daemon is stopped. Its probes are
    hints without being written down."""
    if asked.get("--main") == ["target"]:
        return {}  # systemd does it itself then
    return {
        key: given
        for key, given in known.items()
        if key not in asked and key not in PROBES and key != "--reload" and not is_about_http(key)
    }


def _find_wrapper() -> str:
    """Where notifywrap is; if it is not installed, where it usually is."""
    beside = os.path.join(os.path.dirname(sys.executable), "notifywrap")
    for path in (_USUAL, "/usr/bin/notifywrap", beside):
        if os.access(path, os.X_OK) and not path.startswith(("/root/", "/home/")):
            return path
    return _USUAL


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


def _say_what_is_left(
    text: str, plan: Plan, spec: Spec | None, is_probed: bool, has_preset: bool
) -> None:
    """On stderr, where it does not get into the unit."""
    journal = Journal()
    for found in lint(parse_unit(text, f"{plan.name}.service"), understand):
        journal.say(Level.WARNING, f"line {found.line}: {found.text}; {found.fix}")
    if not is_probed:
        guess = "its preset knows its usual page" if has_preset else "its sockets are guessed"
        journal.say(Level.NOTICE, f"no --probe given: {guess}; better name what clients ask for")
    for what, program in commands_of(spec):
        if os.path.basename(program) in SHELLS:
            more = "what it starts in turn must be in ExecPaths= too"
            journal.say(Level.NOTICE, f"{what} runs {program}: {more}")
    for credential in plan.credentials:
        place = f"/etc/{plan.name}/{credential}"
        journal.say(Level.NOTICE, f"the secret {credential} goes into {place}, see there")
    if plan.reload and not has_preset:
        journal.say(Level.NOTICE, "a reload sends HUP; see --reload if that is not for it")
