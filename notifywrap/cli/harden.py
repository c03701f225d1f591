"""`notifywrap harden`: the tightest sandbox under which a service still works, found by trying."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from notifywrap.cli.journal import Journal, show
from notifywrap.cli.options import MANY, ONCE, OPTIONS, SWITCH, as_words, parse_arguments
from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.policy.duration import parse_duration
from notifywrap.policy.events import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from notifywrap.cli.options import Arguments
    from notifywrap.harden.flow import Wish
    from notifywrap.harden.trial import Original

__all__ = ["main"]

_OURS = {
    "--copy": MANY,
    "--exercise": MANY,
    "--exercise-timeout": ONCE,
    "--json": SWITCH,
    "--lab": SWITCH,
    "--max-rounds": ONCE,
    "--output": ONCE,
    "--state": ONCE,
}
_RUNTIME = "/run/systemd/system"  # sd_booted(3): there under systemd alone
_INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
    """Search, and print or write what was found; the exit status is in the help."""
    if any(word in ("--help", "-h") for word in argv):
        from notifywrap.cli import about

        return about.main(("--help", "harden"))
    try:
        arguments = parse_arguments(argv, {**OPTIONS, **_OURS})
        wish = _read_wish(arguments)
        if _is_on(arguments, "--lab") or not os.path.isdir(_RUNTIME):
            return _harden_in_lab(arguments)
        return _harden(arguments, wish)
    except NotifywrapError as error:
        Journal().say(Level.ERROR, str(error))
        return error.exit_status
    except KeyboardInterrupt:
        return _INTERRUPTED  # before anything was proven; what was made is gone by now


def _read_wish(arguments: Arguments) -> Wish:
    from notifywrap.harden.flow import Wish

    wish = Wish(tuple(arguments.values.get("--exercise", ())))
    if not all(each.strip() for each in wish.exercises):
        raise SpecError("--exercise: is empty: write a command that sh can run")
    state = arguments.last("--state", wish.state)
    if state not in ("copy", "none"):
        raise SpecError(f"--state: {state!r}: write copy or none")
    rounds = arguments.last("--max-rounds", str(wish.max_rounds))
    if not (rounds.isascii() and rounds.isdigit() and int(rounds) > 0):
        raise SpecError(f"--max-rounds: {rounds!r} is not a number of rounds (80, for example)")
    copies = tuple(arguments.values.get("--copy", ()))
    for path in copies:
        if not os.path.isabs(path) or not os.path.exists(path):
            raise SpecError(f"--copy: {path!r}: no such file or directory (write an absolute path)")
    limit_s = parse_duration(arguments.last("--exercise-timeout", "30s"), "--exercise-timeout")
    return wish._replace(
        state=state, max_rounds=int(rounds), copies=copies, exercise_timeout_s=limit_s
    )


def _is_on(arguments: Arguments, option: str) -> bool:
    value = arguments.last(option, "no")
    if value not in ("yes", "no"):
        raise SpecError(f"{option}: write {option}, {option}=yes or {option}=no")
    return value == "yes"


def _harden(arguments: Arguments, wish: Wish) -> int:
    from notifywrap.cli.check import understand
    from notifywrap.harden.flow import harden

    if os.geteuid() != 0:
        raise NotifywrapError("only root can start units (try: sudo notifywrap harden ...)")
    original = _find_original(arguments)
    _check_output(arguments, original.unit.name.full)
    journal = Journal()
    document = harden(original, wish, understand, lambda text: journal.say(Level.INFO, text))
    return _deliver(document, arguments)


def _find_original(arguments: Arguments) -> Original:
    from notifywrap.cli.check import understand
    from notifywrap.harden.trial import read_command, read_unit
    from notifywrap.unitfile.findings import Subject
    from notifywrap.unitfile.unit import load

    options = {key: given for key, given in arguments.values.items() if key not in _OURS}
    if arguments.command is not None and not arguments.words:
        return read_command(as_words(options), arguments.command, understand)
    if arguments.command is not None or len(arguments.words) != 1:
        raise SpecError("harden: one unit, or one command behind -- (see notifywrap --help harden)")
    if options:
        raise SpecError(f"{next(iter(options))}: not with a unit, whose ExecStart= says it")
    return read_unit(Subject(load(arguments.words[0]), understand))


def _harden_in_lab(arguments: Arguments) -> int:
    from notifywrap.cli.inlab import find_unit, run_in_lab

    files = [each for word in arguments.words[:1] for each in find_unit(word)]
    named = (
        files[0].name if files else f"{os.path.basename((arguments.command or ['-'])[0])}.service"
    )
    _check_output(arguments, named)
    words = ["harden", "--json"]
    for key, values in arguments.values.items():
        if key in OPTIONS:
            words += as_words({key: values})
        elif key not in ("--lab", "--output", "--json"):
            words += [word for value in values for word in (key, value)]
    if arguments.command is not None:
        words += ["--", *arguments.command]
    else:
        words += [str(each) for each in files[:1]]
    answer = run_in_lab(words, files, [os.getcwd()])
    if not answer.out:
        return answer.status
    return _deliver(json.loads(answer.out), arguments)


def _check_output(arguments: Arguments, unit: str) -> None:
    """Before anything runs: what cannot be written in the end would be lost."""
    from notifywrap.harden.dropin import NAME

    directory = arguments.last("--output", "")
    if "--output" in arguments.values and not os.path.isdir(directory):
        raise SpecError(f"--output: {directory!r}: no such directory (/etc/systemd/system, mostly)")
    path = os.path.join(directory, f"{unit}.d", NAME)
    if directory and os.path.exists(path):
        raise SpecError(
            f"--output: {path!r} is there already, and the search would begin with what it says:"
            " move it away first"
        )


def _deliver(document: dict[str, Any], arguments: Arguments) -> int:
    from notifywrap.harden.report import format_files, format_next, format_summary, write_files

    journal = Journal()
    for line in [] if _is_on(arguments, "--json") else format_summary(document):
        journal.say(Level.INFO, line)
    directory = arguments.last("--output", "")
    if directory:
        try:
            written = write_files(document, directory)
        except NotifywrapError:
            show(format_files(document))  # it has taken a while
            raise
        for path in written:
            journal.say(Level.INFO, f"written: {path}")
        journal.say(Level.INFO, format_next(document))
    if _is_on(arguments, "--json"):
        show(json.dumps(document, indent=2) + "\n")
    elif not directory:
        show(format_files(document))
    if document["interrupted"]:
        return _INTERRUPTED
    return 0 if document["verified"] else 1
