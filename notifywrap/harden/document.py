"""What a run has found, as one document: `--json` prints it, report.py reads it to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from notifywrap.harden.dropin import NAME, Result, format_dropin
from notifywrap.harden.rootdirectory import NAME as ROOT
from notifywrap.harden.rootdirectory import about_root
from notifywrap.harden.sockets import format_sockets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from notifywrap.harden.model import Candidate, Observation, Pick, Tier
    from notifywrap.harden.prover import Proven
    from notifywrap.harden.scores import Drilled
    from notifywrap.harden.trial import Original

__all__ = ["Measured", "compose"]


class Measured(NamedTuple):
    """What the unit is worth, before and after.

    exposures  by systemd-analyze security; None where it could not tell
    drills     what an intruder could do; None where that could not be tried
    took_s     of the whole search
    """

    exposures: tuple[float | None, float | None]
    drills: tuple[Drilled | None, Drilled | None]
    baseline: Observation
    took_s: float


def compose(
    original: Original, candidates: Sequence[Candidate], proven: Proven, measured: Measured
) -> dict[str, Any]:
    """All of it; "files" has the texts of the unit files, by their paths below a unit directory."""
    by_name = {each.name: each for each in candidates}
    places = list(by_name)
    kept = tuple(sorted(proven.kept, key=lambda pick: places.index(pick.name)))
    before, after = measured.drills
    return {
        "unit": original.unit.name.full,
        "rounds": proven.rounds + 2,
        "seconds": round(measured.took_s, 1),
        "verified": proven.is_verified,
        "interrupted": proven.is_interrupted,
        "exposure": dict(zip(("before", "after"), measured.exposures, strict=True)),
        "drill": {
            "before": before.allowed if before else None,
            "after": after.allowed if after else None,
            "of": after.of if after else None,
            "left": list(after.names) if after else [],
        },
        "kept": [{"name": each.name, "settings": _lines(by_name, each)} for each in kept],
        "rejected": [
            {"name": each.name, "settings": _lines(by_name, each), "reasons": list(reasons)}
            for each, reasons in proven.rejected
        ],
        "untried": list(proven.untried),
        "baseline": measured.baseline._asdict(),
        "files": _files(original, by_name, proven, kept, _summary(measured)),
    }


def _summary(measured: Measured) -> tuple[str, ...]:
    lines = []
    score, drill = measured.exposures, measured.drills
    if score[1] is not None:
        lines.append(f"Exposure {score[0]:g} -> {score[1]:g} (systemd-analyze security).")
    if drill[0] and drill[1]:
        counts = f"{drill[0].allowed} -> {drill[1].allowed} of {drill[1].of}"
        lines.append(f"What an intruder could do {counts} (notifywrap drill).")
    return tuple(lines)


def _files(
    original: Original,
    by_name: Mapping[str, Candidate],
    proven: Proven,
    kept: tuple[Pick, ...],
    summary: tuple[str, ...],
) -> dict[str, str]:
    name = original.unit.name.full
    result = Result(
        name,
        summary,
        tuple(by_name.values()),
        kept,
        proven.rejected,
        proven.untried,
        original.start,
    )
    files = {name: original.text} if original.text else {}
    files[f"{name}.d/{NAME}"] = format_dropin(result)
    if any(pick.name == ROOT for pick in kept):
        files[f"{name}.root/about"] = about_root(name)
    for pick in kept:
        files |= format_sockets(name, _tier(by_name, pick).sockets)
    return files


def _lines(by_name: Mapping[str, Candidate], pick: Pick) -> list[str]:
    return [f"{one.key}={one.value}" for one in _tier(by_name, pick).settings]


def _tier(by_name: Mapping[str, Candidate], pick: Pick) -> Tier:
    return by_name[pick.name].tiers[pick.tier]
