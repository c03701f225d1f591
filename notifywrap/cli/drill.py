"""`notifywrap drill`: what could an intruder in this service do?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifywrap.cli.journal import Journal, show
from notifywrap.cli.options import ONCE, OPTIONS, SWITCH, parse_arguments
from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.policy.events import Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from notifywrap.cli.options import Arguments
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
            return _drill_in_lab(argv, arguments)
        return _drill(arguments, limit)
    except NotifywrapError as error:
        Journal().say(Level.ERROR, str(error))
        return error.exit_status
    except KeyboardInterrupt:
        return 130  # what it had made is gone by now, see drill/cleaner.py


def _drill_in_lab(argv: Sequence[str], arguments: Arguments) -> int:
    from notifywrap.cli.inlab import find_unit, run_in_lab

    if len(arguments.words) != 1:
        raise SpecError("--lab: is for a unit; a command needs no systemd")
    (word,) = arguments.words
    files = find_unit(word)
    rest = [each for each in argv if each not in ("--lab", "--lab=yes", word)]
    answer = run_in_lab(["drill", *rest, str(files[0])], files)
    show(answer.out)
    return answer.status


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
    from notifywrap.drill.run import run_drill

    unit, service = _understand(arguments)
    if _is_on(arguments, "--list"):
        show(format_list(service.facts() if service else []))
        return 0
    if service is None:
        raise SpecError(
            "nothing to try: notifywrap drill UNIT-FILE, or drill [--jail[=RULES]] -- COMMAND"
            " (see notifywrap --help drill)"
        )
    report, remarks = run_drill(unit, service)
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
