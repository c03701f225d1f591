"""The whole run: what is told before, the baseline, the search, and the scores."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from notifywrap.errors import NotifywrapError
from notifywrap.harden.candidates import GUARD, list_candidates
from notifywrap.harden.copies import Copies
from notifywrap.harden.document import Measured, compose
from notifywrap.harden.facts import check_idle, filters_addresses, find_facts, find_in_homes
from notifywrap.harden.judgement import compare, tidy, widen
from notifywrap.harden.learned import add_usage
from notifywrap.harden.model import Pick
from notifywrap.harden.progress import Progress
from notifywrap.harden.prover import Prover
from notifywrap.harden.runner import Round, Runner
from notifywrap.harden.scores import measure_drill, measure_exposure
from notifywrap.harden.search import Search
from notifywrap.harden.sweeper import Sweeper
from notifywrap.harden.trial import find_copies, in_trial, merge
from notifywrap.unitfile.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from notifywrap.harden.model import Observation, Setting
    from notifywrap.harden.scores import Drilled
    from notifywrap.harden.trial import Original
    from notifywrap.unitfile.findings import Understand

__all__ = ["Wish", "harden"]

_ROUND_S = 2.0  # of a small service; said before anything is known of this one
_USUAL_ROUNDS = 25
_MORE_ROUNDS = 3  # twice as it is, and once more in the end
_START_LIMIT_S, _MOST_START_LIMIT_S = 90.0, 600.0  # DefaultTimeoutStartSec=, and enough for all


class Wish(NamedTuple):
    """What the user asked for.

    exercises  commands that sh runs in every round
    state      "copy" or "none"
    copies     more paths that the service writes to
    """

    exercises: tuple[str, ...] = ()
    state: str = "copy"
    copies: tuple[str, ...] = ()
    max_rounds: int = 80
    exercise_timeout_s: float = 30.0


def harden(
    original: Original, wish: Wish, understand: Understand, say: Callable[[str], None]
) -> dict[str, Any]:
    """Search, and return what was found (see document.py).

    Raises NotifywrapError when the service does not work as it is, or cannot be tried here.
    """
    began = time.monotonic()
    check_idle(original)
    tag = f"notifywrap-harden-{secrets.token_hex(4)}"
    with Sweeper(tag) as sweeper:
        copied = find_copies(original, tag, wish.copies)
        copies = Copies(copied, tag, is_empty=wish.state == "none")
        copies.make_places(sweeper)
        common = Round(wish.exercises, wish.exercise_timeout_s, copied)
        runner = Runner(original, tag, common, copies)
        _announce(original, wish, copies, tag, say)
        baseline = _find_baseline(runner, original)
        facts = find_facts(original, baseline, wish.copies, is_filtered=filters_addresses(tag))
        candidates = list_candidates(facts)
        unit = original.unit

        def measure(settings: Sequence[Setting]) -> float | None:
            return measure_exposure(unit.name.full, merge(original, settings), tag)

        guard = [Pick(each.name) for each in candidates if each.name in GUARD]
        prover = Prover(runner, candidates, baseline, Progress(say), measure)
        proven = prover.prove(Search(candidates, wish.max_rounds, guard))
        settings = prover.settings(proven.kept)
        exposures = measure(()), measure(settings)
        try:
            drills = _drill(original, in_trial(settings, tag), understand, say)
        except KeyboardInterrupt:
            drills, proven = (None, None), proven._replace(is_interrupted=True)
    measured = Measured(exposures, drills, baseline, time.monotonic() - began)
    return compose(original, candidates, proven, measured)


def _announce(
    original: Original, wish: Wish, copies: Copies, tag: str, say: Callable[[str], None]
) -> None:
    name, size = original.unit.name.full, copies.size()
    each = f", each with a copy of {size / 1e6:.0f} MB of state" if size else ""
    most = wish.max_rounds + _MORE_ROUNDS
    usual = min(_USUAL_ROUNDS, most)
    about_s = usual * _ROUND_S
    say(
        f"{name} is started under another name ({tag}), {usual} times or so and at most"
        f" {most} times{each}: about {about_s:.0f} s where a start and the exercises"
        f" take {_ROUND_S:.0f} s"
    )
    for path in find_in_homes(original):
        say(
            f"{path} is in a home directory, which ProtectHome=yes and DynamicUser=yes hide: they"
            " will be rejected (see README, Install)"
        )
    for command in wish.exercises:
        say(f"in each round: {command}")
    if not wish.exercises:
        say("no --exercise: what its probes do not ask for may be taken away from it")


def _find_baseline(runner: Runner, original: Original) -> Observation:
    """The service as it is, twice: what differs between the two differs by itself."""
    first = runner.watch(start_limit_s=_start_limit(original), is_graceful=True)
    if first.error:
        raise NotifywrapError(_explain(original, first))
    for each in first.exercised:
        if each.status:
            said = f": {tidy(each.last_line)}" if each.last_line else ""
            raise NotifywrapError(
                f"exercise {each.command!r} ends with {each.status} before anything is taken away"
                f"{said}"
            )
    second = runner.watch(start_limit_s=_start_limit(original))
    same_log = first._replace(warnings=second.warnings)
    reasons = [each for each in compare(same_log, second) if each.is_hard]
    if reasons:
        raise NotifywrapError(
            f"{original.unit.name.full} is not the same when it is started twice, so nothing can be"
            f" learned from trying: {reasons[0].full}"
        )
    return widen(second, first)._replace(
        warnings=first.warnings + second.warnings,
        connects=tuple(sorted({*first.connects, *second.connects})),
        peers=tuple(sorted({*first.peers, *second.peers})),
        # On a machine with other traffic: what is the service's is there both times.
        backends=tuple(sorted({*first.backends} & {*second.backends})),
        usage=add_usage(first.usage, second.usage),
    )


def _explain(original: Original, seen: Observation) -> str:
    name = original.unit.name.full
    hint = f" ({seen.denied[0]})" if seen.denied and seen.denied[0] not in seen.error else ""
    said = f"{name} does not work as it is: {seen.error}{hint}"
    if not seen.denied and "no such file" not in seen.error.lower():
        return said
    return (
        f"{said}. Everything but its StateDirectory= and what ReadWritePaths= names is read-only"
        " here, and /tmp is its own: --copy PATH for a path that it writes to"
    )


def _start_limit(original: Original) -> float:
    """What the unit gives it, within reason: one that never gets ready must not last for ever."""
    span = original.unit.span("TimeoutStartSec", default=_START_LIMIT_S)
    return min(span or _MOST_START_LIMIT_S, _MOST_START_LIMIT_S)


def _drill(
    original: Original,
    settings: Sequence[Setting],
    understand: Understand,
    say: Callable[[str], None],
) -> tuple[Drilled | None, Drilled | None]:
    found: list[Drilled | None] = []
    known = original.unit
    for each in ((), settings):
        text = merge(original, each)
        unit = Unit(known.name, known.path, [(known.path, text)], known.tree)
        try:
            found.append(measure_drill(unit, understand))
        except NotifywrapError as error:
            say(f"no drill: {error}")
            found.append(None)
    return found[0], found[1]
