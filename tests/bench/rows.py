"""What a measurement gives, and its statistics. Medians and ranges: a mean hides one bad run."""

from __future__ import annotations

import statistics
from typing import NamedTuple

__all__ = ["OURS", "Row", "above", "missing", "no_figure"]

OURS = "notifywrap"


class Row(NamedTuple):
    """One figure of one candidate.

    group    the module of tests/bench that measured it
    samples  one for each round or event, in *unit*; none when it could not be measured, and *note*
             says why
    must     what is promised: the median is to be at most this; None where nothing is
    most     promised as well: no sample is to be above this
    """

    group: str
    figure: str
    who: str
    unit: str
    samples: tuple[float, ...]
    must: float | None = None
    note: str = ""
    most: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def is_met(self) -> bool | None:
        """Are the promises kept? None where there are none."""
        if not self.samples or (self.must is None and self.most is None):
            return None
        return (self.must is None or self.median <= self.must) and (
            self.most is None or max(self.samples) <= self.most
        )

    def ratio_to(self, other: Row) -> float | None:
        """How many times *other* this is; None where a median is not above zero."""
        if not (self.samples and other.samples) or other.median <= 0 or self.median <= 0:
            return None
        return self.median / other.median


def above(samples: list[float], base: list[float]) -> tuple[float, ...]:
    """What each sample has more than the *base* of the same round: what both share, and the mood
    of the machine, cancel out."""
    return tuple(one - other for one, other in zip(samples, base, strict=True))


def missing(group: str, figure: str, who: str, unit: str, why: str) -> Row:
    """A candidate that could not be had is a row as well, and says so."""
    return Row(group, figure, who, unit, (), None, why)


def no_figure(group: str, figure: str, who: str, unit: str, why: str) -> Row:
    """What this machine does not let anybody measure."""
    return missing(group, figure, who, unit, f"not measured: {why}")
