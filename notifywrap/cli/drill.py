"""`notifywrap drill`: what could an intruder in this service do?"""

from __future__ import annotations

import os
import secrets
import sys
from typing import TYPE_CHECKING

from notifywrap.cli.journal import Journal, show
from notifywrap.cli.options import ONCE, OPTIONS, SWITCH, parse_arguments
from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.policy.events import Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from notifywrap.cli.options import Arguments
    from notifywrap.drill.runner import Report
    from notifywrap.drill.service import Service
    from notifywrap.unitfile.findings import Understood
    from notifywrap.unitfile.unit import Unit

__all__ = ["main"]

_KNOWN = {
    "--jail": OPTIONS["--jail"],
    "--json": SWITCH,
    "--lab": SWITCH,
    "--list": SWITCH,
    "--max-allowed": ONCE,
}
_RUNTIME = "/run/systemd/system"  # sd_booted(3): there under systemd alone


def main(argv: Sequence[str]) -> int:
    """Make the attempts and print what came of them; 1 when more than --max-allowed worked, 2 for
    misuse."""
    if any(word in ("--help", "-h") for word in argv):
        from notifywrap.cli import about

        return about.main(("--help", "drill"))
    try:
        arguments = parse_arguments(argv, _KNOWN)
        limit = _limit(arguments)
        if _is_on(arguments, "--lab"):
            from notifywrap.cli.drilllab import run_in_lab

            return run_in_lab(argv, arguments.words)
        return _drill(arguments, limit)
    except NotifywrapError as error:
        Journal().say(Level.ERROR, str(error))
        return error.exit_status
    except KeyboardInterrupt:
        return 130  # what it had made is gone by now, see drill/cleaner.py


def _limit(arguments: Arguments) -> int | None:
    text = arguments.last("--max-allowed", "")
    if "--max-allowed" in arguments.values and not (text.isascii() and text.isdigit()):
        raise SpecError(f"--max-allowed: {text!r} is not a number of attempts")
    return int(text) if text else None


def _is_on(arguments: Arguments, option: str) -> bool:
    value = arguments.last(option, "no")
    if value not in ("yes", "no"):
        raise SpecError(f"{option}: write {option}, {option}=yes or {option}=no")
    return value == "yes"


def _drill(arguments: Arguments, limit: int | None) -> int:
    from notifywrap.drill.report import count_allowed, format_json, format_list, format_table

    unit, service = _understand(arguments)
    if _is_on(arguments, "--list"):
        show(format_list(service.facts() if service else []))
        return 0
    if service is None:
        raise SpecError(
            "nothing to try: notifywrap drill UNIT-FILE, or drill [--jail[=RULES]] -- COMMAND"
            " (see notifywrap --help drill)"
        )
    report, remarks = _run(unit, service)
    subject = unit.path if unit else service.binary
    if _is_on(arguments, "--json"):
        show(format_json(subject, report.uid, report.findings, remarks))
    else:
        show(format_table(report.findings, remarks))
    return int(limit is not None and count_allowed(report.findings) > limit)


def _understand(arguments: Arguments) -> tuple[Unit | None, Service | None]:
    """What is to be judged: (its unit, None for a command; the service, None when nothing was
    said)."""
    from notifywrap.drill.service import read_command, read_unit

    if not arguments.words:
        if arguments.command is None and "--jail" not in arguments.values:
            return None, None
        return None, read_command(arguments.command or (), arguments.values)
    from notifywrap.unitfile.findings import Subject
    from notifywrap.unitfile.unit import load

    if len(arguments.words) > 1 or arguments.command is not None:
        raise SpecError("drill: one unit at a time, or one command behind --")
    if "--jail" in arguments.values:
        raise SpecError("--jail: not with a unit, whose ExecStart= says what its jail is")
    unit = load(arguments.words[0])
    return unit, read_unit(Subject(unit, _read_words))


def _read_words(
    argv: Sequence[str],
    env: Mapping[str, str],
    watchdog_s: float | None,  # noqa: ARG001 - what it is called with
) -> Understood:
    """The wrapper's settings in ExecStart=, the environment and so on."""
    from notifywrap.cli.settings import settle
    from notifywrap.unitfile.findings import Understood

    try:
        settled, _ = settle(parse_arguments(argv, OPTIONS), env)
    except SpecError as error:
        return Understood({}, (), error=str(error))
    return Understood(settled.values, settled.command or ())


def _run(unit: Unit | None, service: Service) -> tuple[Report, list[str]]:
    from notifywrap.drill.attempt import Context
    from notifywrap.drill.bundle import bundle
    from notifywrap.drill.cleaner import Cleaner
    from notifywrap.drill.runner import run_here, run_unit
    from notifywrap.drill.throwaway import Throwaway, make_throwaway, name_in_root
    from notifywrap.drill.world import (
        World,
        backend_ports,
        find_code,
        find_interpreter,
        missing_capabilities,
    )

    python = find_interpreter()
    tag = f"notifywrap-drill-{secrets.token_hex(4)}"
    home = f"{'/run' if unit is not None else '/tmp'}/{tag}-home"
    plan, root = Throwaway("", (), -1, ()), ""
    if unit is not None:
        _check_systemd()
        root = os.path.realpath(unit.text("RootDirectory", "/"))
        code = find_code(python)
        python = name_in_root(unit, python)
        plan = make_throwaway(unit, tag, home, python, code)
    rules = None if service.rules is None else plan.move(service.rules)
    beside = os.path.dirname(service.configuration)
    with (
        Cleaner(tag, home, [beside] if beside else [], root) as cleaner,
        World(tag, backend_ports(rules)) as world,
    ):
        os.mkdir(home, 0o700)
        context = Context(
            tag,
            binary=service.binary,
            configuration=service.configuration,
            state_file=service.state_file,
            python=python,
            is_wrapped=service.is_wrapped,
            rules=rules,
            max_processes=plan.max_processes,
            **world.facts(),
        )
        if unit is not None:
            program = bundle(context, is_alone=False)
            report = run_unit(tag, home, plan.text, program, cleaner)
        else:
            report = run_here(python, bundle(context, is_alone=True), cleaner)
    lacking = missing_capabilities()
    remarks = [f"nobody has {', '.join(lacking)} here: no unit is better for it"] if lacking else []
    return report, [*remarks, *plan.remarks, *report.remarks]


def _check_systemd() -> None:
    if not os.path.isdir(_RUNTIME):
        raise NotifywrapError(
            "systemd does not run here, and a unit's sandbox is its work: --lab boots one for this"
            " (as root); drill --jail=RULES -- COMMAND tries the jail alone"
        )
    if os.geteuid() != 0:
        raise NotifywrapError(f"only root can start a unit (try: sudo {sys.argv[0]} drill ...)")
