"""Decisions only: what to try next, given what came of the rounds before. No clock, no I/O.

Harmless candidates are tried as one group, which is halved when it fails: most services stand most
of them, and ten that pass cost one round. Risky ones are tried alone. A candidate that fails goes
down to its next tier. Nothing is kept that has not passed together with all that is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from notifywrap.harden.model import Pick, Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from notifywrap.harden.judgement import Reason
    from notifywrap.harden.model import Candidate

__all__ = ["Rejection", "Search"]

_MOST_EXCUSES = 5  # a machine that is always busy can tell nothing of time


class Rejection(NamedTuple):
    """A tier that the service does not stand, and what was seen."""

    pick: Pick
    reasons: tuple[str, ...]


def _order(candidates: Sequence[Candidate]) -> list[tuple[Pick, ...]]:
    """The large group first, then the risky ones and the other groups as they come."""
    groups: dict[str, list[Pick]] = {"": []}
    for each in candidates:
        groups.setdefault(each.name if each.is_risky else each.group, []).append(Pick(each.name))
    return [tuple(group) for group in groups.values() if group]


class Search:
    """Asks for rounds with next(), and is told what came of each with tell().

    guard       picks that hold from the start: the baseline has been seen with them
    max_rounds  no more than this
    """

    def __init__(
        self, candidates: Iterable[Candidate], max_rounds: int, guard: Sequence[Pick] = ()
    ) -> None:
        candidates = tuple(candidates)
        self._tiers = {each.name: len(each.tiers) for each in candidates}
        assert len(self._tiers) == len(candidates), "two candidates of one name"
        self._most = max_rounds
        self._kept = list(guard)
        held = {pick.name for pick in guard}
        free = [each for each in candidates if each.name not in held]
        self._queue = _order(free)
        self._rejected: list[Rejection] = []
        self._failed: dict[frozenset[Pick], tuple[str, ...]] = {}
        self._is_second_time = self._is_control = False
        self._excuses = 0
        self.rounds = 0

    @property
    def kept(self) -> tuple[Pick, ...]:
        """What has passed, all of it together."""
        return tuple(self._kept)

    @property
    def rejected(self) -> tuple[Rejection, ...]:
        return tuple(self._rejected)

    @property
    def untried(self) -> tuple[str, ...]:
        """Candidates that are still in the queue."""
        return tuple(dict.fromkeys(pick.name for group in self._queue for pick in group))

    @property
    def rounds_left(self) -> int:
        """An estimate: each group once, and a group's halves if it fails are not foreseen."""
        return min(len(self._queue), self._most - self.rounds)

    def next(self) -> Trial | None:
        """What to try now; None at the end."""
        if self._is_control and self._queue and self.rounds < self._most:
            return Trial(self.kept, ())
        while self._queue and self.rounds < self._most:
            group = self._queue[0]
            known = self._failed.get(self._set(group))
            if known is None:
                return Trial(self.kept, group)
            # The second half of a group whose first half has passed: with that it is the group.
            self._reject(self._queue.pop(0), known)
        return None

    def tell(self, reasons: Sequence[Reason]) -> None:
        """What came of the trial that next() has returned; nothing for as good as the baseline.

        Reasons that may be chance make next() ask for the same once more, or, of a group, for its
        halves, which is no more work. When they are about time, it asks for what has been kept
        alone before: if that is slow as well, it is the machine, and nothing has been seen.
        """
        self.rounds += 1
        if self._is_control:
            self._compare(reasons)
            return
        is_hard = any(each.is_hard for each in reasons)
        is_alone = len(self._queue[0]) == 1
        if reasons and not is_hard and not self._is_second_time:
            self._is_control = all(each.is_timed for each in reasons)
            self._is_second_time = is_alone
            if is_alone or self._is_control:
                return
        self._is_second_time = False
        self._excuses = 0
        group = self._queue.pop(0)
        if not reasons:
            self._kept += group
            return
        # Where one is certain, the others may be chance.
        said = tuple(each.text for each in reasons if each.is_hard or not is_hard)
        if is_hard:
            self._failed[self._set(group)] = said
        self._reject(group, said)

    def _compare(self, reasons: Sequence[Reason]) -> None:
        """What has been kept alone was tried."""
        self._is_control = False
        if any(each.is_timed for each in reasons) and self._excuses < _MOST_EXCUSES:
            self._excuses += 1
            self._is_second_time = False
        elif len(self._queue[0]) > 1:
            self._excuses = 0
            self._reject(self._queue.pop(0), ())

    def _set(self, group: Sequence[Pick]) -> frozenset[Pick]:
        return frozenset([*self._kept, *group])

    def _reject(self, group: tuple[Pick, ...], reasons: tuple[str, ...]) -> None:
        if len(group) > 1:
            middle = len(group) // 2
            self._queue[:0] = [group[:middle], group[middle:]]
            return
        (pick,) = group
        self._rejected.append(Rejection(pick, reasons))
        if pick.tier + 1 < self._tiers[pick.name]:
            self._queue.insert(0, (Pick(pick.name, pick.tier + 1),))
