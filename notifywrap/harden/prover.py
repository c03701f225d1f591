"""The search, round by round, and the proof of what came of it.

Nothing is decided here: search.py says what to try, and judgement.py what came of it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from notifywrap.harden.jailrules import join_jail
from notifywrap.harden.judgement import compare, widen
from notifywrap.harden.progress import format_bar, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from notifywrap.harden.judgement import Reason
    from notifywrap.harden.model import Candidate, Observation, Pick, Setting, Socket, Tier, Trial
    from notifywrap.harden.progress import Progress
    from notifywrap.harden.runner import Runner
    from notifywrap.harden.search import Search

__all__ = ["Proven", "Prover"]

_MOST_TAKEN_BACK = 5  # if the result does not pass
_LEAST_LIMIT_S = 5.0
_FIRST_ROUND_S = 2.0  # a guess


class Proven(NamedTuple):
    """What a run came to.

    kept         proven together, in this order
    rejected     (pick, reasons)
    untried      candidates that no round was left for
    is_verified  did the whole pass once more, with a stop as systemd does it?
    """

    kept: tuple[Pick, ...]
    rejected: tuple[tuple[Pick, tuple[str, ...]], ...]
    untried: tuple[str, ...]
    rounds: int
    is_verified: bool
    is_interrupted: bool


class Prover:
    """Runs the rounds that the search asks for.

    runner     performs one
    baseline   what each is judged by
    measure    the exposure under these settings
    """

    def __init__(
        self,
        runner: Runner,
        candidates: Sequence[Candidate],
        baseline: Observation,
        progress: Progress,
        measure: Callable[[Sequence[Setting]], float | None],
    ) -> None:
        self._runner, self._baseline, self._progress = runner, baseline, progress
        self._candidates = {each.name: each for each in candidates}
        self._measure = measure
        self._limit_s = max(_LEAST_LIMIT_S, 4 * baseline.ready_s)
        self._began = time.monotonic()
        self.rounds = 0

    def prove(self, search: Search) -> Proven:
        """Search until nothing is left to try or ctrl-C is pressed, then prove what was kept."""
        is_interrupted = is_verified = False
        taken_back: list[tuple[Pick, tuple[str, ...]]] = []
        kept = search.kept
        try:
            self._search(search)
            kept, taken_back, is_verified = self._verify(search.kept)
        except KeyboardInterrupt:
            # What is kept has passed as a whole, so it may be used.
            kept, is_interrupted = search.kept, True
        rejected = [*[(each.pick, each.reasons) for each in search.rejected], *taken_back]
        return Proven(
            kept, tuple(rejected), search.untried, self.rounds, is_verified, is_interrupted
        )

    def _search(self, search: Search) -> None:
        while (trial := search.next()) is not None:
            self._show(search, trial)
            began = time.monotonic()
            seen = self._observe(trial.picks)
            reasons = compare(self._baseline, seen)
            if not trial.new:  # it has passed before: its times are those of the service
                self._baseline = widen(self._baseline, seen)
            took_s = time.monotonic() - began
            search.tell(reasons)
            what = shorten([each.name for each in trial.new]) or "what is kept, to compare"
            said = f"rejected: {reasons[0].full}" if reasons else "kept"
            if not trial.new:
                said = f"slow as well: {reasons[0].full}" if reasons else "is as it was"
            self._progress.tell(f"round {self.rounds} ({took_s:.1f} s): {what}: {said}")

    def _verify(
        self, kept: tuple[Pick, ...]
    ) -> tuple[tuple[Pick, ...], list[tuple[Pick, tuple[str, ...]]], bool]:
        """Once more from scratch, and with a stop: the search ends its rounds by force.

        What does not pass loses what was kept last, and is tried again, a few times.
        """
        taken_back: list[tuple[Pick, tuple[str, ...]]] = []
        for _ in range(_MOST_TAKEN_BACK):
            reasons = self._try(kept, is_graceful=True)
            if reasons and not any(each.is_hard for each in reasons):
                reasons = self._try(kept, is_graceful=True)
            if not reasons or not kept:
                return kept, taken_back, not reasons
            taken_back.append((kept[-1], tuple(each.text for each in reasons)))
            kept = kept[:-1]
        return kept, taken_back, False

    def _try(self, picks: Sequence[Pick], *, is_graceful: bool = False) -> tuple[Reason, ...]:
        return compare(self._baseline, self._observe(picks, is_graceful=is_graceful))

    def _observe(self, picks: Sequence[Pick], *, is_graceful: bool = False) -> Observation:
        self.rounds += 1
        return self._runner.run(
            self.settings(picks),
            self.sockets(picks),
            start_limit_s=self._limit_s,
            is_graceful=is_graceful,
        )

    def _show(self, search: Search, trial: Trial) -> None:
        left = search.rounds_left
        took_s = time.monotonic() - self._began
        round_s = took_s / self.rounds if self.rounds else _FIRST_ROUND_S
        exposure = self._measure(self.settings(trial.kept))
        bar = format_bar(self.rounds + 1, self.rounds + left, left * round_s, exposure)
        self._progress.draw(bar, shorten([each.name for each in trial.new]))

    def settings(self, picks: Sequence[Pick]) -> tuple[Setting, ...]:
        """The lines of these picks, in the order of the candidates, whenever each was kept."""
        places = {name: number for number, name in enumerate(self._candidates)}
        ordered = sorted(picks, key=lambda pick: places[pick.name])
        return join_jail(line for each in ordered for line in self._tier(each).settings)

    def sockets(self, picks: Sequence[Pick]) -> tuple[Socket, ...]:
        return tuple(one for each in picks for one in self._tier(each).sockets)

    def _tier(self, pick: Pick) -> Tier:
        return self._candidates[pick.name].tiers[pick.tier]
