"""The rows for people and for programs."""

from __future__ import annotations

import json
import os
import platform
from typing import TYPE_CHECKING

from tests.bench.rows import OURS, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["as_json", "as_table"]

_HEAD = ("", "median", "range", f"x {OURS}", "")


def as_table(rows: Sequence[Row]) -> str:
    """One block for each figure: medians, ranges, and how many times ours each one is."""
    lines = [
        f"Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} cores"
    ]
    for figure in dict.fromkeys((row.group, row.figure) for row in rows):
        block = [row for row in rows if (row.group, row.figure) == figure]
        ours = next((row for row in block if row.who == OURS), None)
        lines += ["", f"{figure[0]}: {figure[1]}, {block[0].unit}"]
        lines += _aligned([_HEAD, *(_cells(row, ours) for row in block)])
    return "\n".join(lines)


def as_json(rows: Sequence[Row]) -> str:
    """Everything that was measured, each sample too."""
    said = [
        row._asdict() | ({"median": row.median} if row.samples else {}) | {"is_met": row.is_met}
        for row in rows
    ]
    about = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
    }
    return json.dumps({**about, "rows": said}, indent=1)


def _cells(row: Row, ours: Row | None) -> tuple[str, ...]:
    if not row.samples:
        return row.who, "-", "", "", row.note
    ratio = row.ratio_to(ours) if ours is not None else None
    promises = [f"must be <= {row.must:g}"] if row.must is not None else []
    promises += [f"at most {row.most:g}"] if row.most is not None else []
    verdict = f"{', '.join(promises)}: {'met' if row.is_met else 'MISSED'}" if promises else ""
    words = "; ".join(part for part in (verdict, row.note) if part)
    return (
        row.who,
        _number(row.median),
        f"{_number(min(row.samples))} to {_number(max(row.samples))}",
        f"{ratio:.2f}" if ratio is not None else "",
        words,
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _aligned(lines: Iterable[tuple[str, ...]]) -> list[str]:
    lines = list(lines)
    widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
    return [
        "  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
