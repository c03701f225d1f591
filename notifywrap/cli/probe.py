"""`notifywrap probe PROBE...`: try probes once, by hand or from a script."""

from __future__ import annotations

import time

from notifywrap.cli.config import DEFAULT_TIMEOUT_S, resolve
from notifywrap.cli.httpsetup import check_probes, with_http_options
from notifywrap.cli.journal import Journal, show
from notifywrap.cli.options import OPTIONS, parse_arguments
from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.duration import format_duration, parse_duration
from notifywrap.policy.events import Level, Outcome
from notifywrap.policy.probe import (
    AliveProbe,
    FdProbe,
    FdsProbe,
    LogProbe,
    NotifyProbe,
    RssProbe,
)
from notifywrap.policy.probespec import parse_probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from notifywrap.policy.probe import Probe

__all__ = ["main"]

_OF_A_TARGET = (AliveProbe, FdProbe, FdsProbe, LogProbe, NotifyProbe, RssProbe)


def main(argv: Sequence[str]) -> int:
    """Try each probe once and say what came of it; 0 when all passed, 1 when one did not, 2 for
    misuse."""
    if any(word in ("--help", "-h") for word in argv):
        from notifywrap.cli import about

        return about.main(("--help", "probe"))
    try:
        probes, timeout_s = _understand(argv)
        results = [_try(probe, timeout_s) for probe in probes]
    except NotifywrapError as error:
        Journal().say(Level.ERROR, str(error))
        return error.exit_status
    return 0 if all(results) else 1


def _understand(argv: Sequence[str]) -> tuple[tuple[Probe, ...], float]:
    known = {
        name: option
        for name, option in OPTIONS.items()
        if name == "--timeout" or name.startswith(("--http-", "--tls-"))
    }
    arguments = parse_arguments(argv, known)
    words = (*arguments.words, *(arguments.command or ()))
    if not words:
        raise SpecError(
            "no probe given: notifywrap probe [OPTIONS] PROBE... (see notifywrap --help probes)"
        )
    timeouts = arguments.values.get("--timeout")
    timeout_s = parse_duration(timeouts[0], "--timeout") if timeouts else DEFAULT_TIMEOUT_S
    probes = [parse_probe(word, "probe", resolve) for word in words]
    for probe in probes:
        if type(probe) in _OF_A_TARGET:
            text = f"probe: {probe.text!r} is about a target, and `notifywrap probe` has none"
            raise SpecError(text)
    asked = with_http_options(probes, arguments.values)
    check_probes(asked)
    return asked, timeout_s


def _try(probe: Probe, timeout_s: float) -> bool:
    from notifywrap.probes.once import run_once

    began = time.monotonic()
    sample = run_once(probe, None, timeout_s)
    took = format_duration(time.monotonic() - began)
    passed = sample.outcome is Outcome.PASSED
    detail = f": {sample.reason}" if sample.reason else ""
    note = f" ({sample.note})" if sample.note else ""
    show(f"{'pass' if passed else 'FAIL'}  {probe.text}  {took}{detail}{note}\n")
    return passed
