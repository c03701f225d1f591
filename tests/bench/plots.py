"""The rows as SVG plots, drawn with the matplotlib that `script/setup bench` installs."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.bench.rows import OURS, Row
from tests.bench.wrappers import PEERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["draw"]

OUR_COLOUR = "#1b6ca8"
THEIR_COLOURS = ("#c46210", "#7a7a7a", "#4b8b3b", "#8e4585", "#b8a000", "#b5b5b5")
STYLE = {
    "svg.fonttype": "none",  # text stays text: smaller, and it can be searched
    "svg.hashsalt": OURS,  # the same figures give the same file
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",  # on a dark page, too
}


class Plot(NamedTuple):
    """What is drawn of the rows whose figure matches *pattern*.

    pattern  of the whole figure; for lines its first group is the x value
    """

    pattern: str
    title: str
    unit: str
    paint: Callable[[Any, list[Row], re.Pattern[str]], None]
    x_label: str = ""
    is_log: bool = False


def draw(rows: Sequence[Row], folder: Path) -> int:
    """Each plot that there are rows for, as a file in *folder*. Returns an exit status."""
    try:
        pyplot = _pyplot()
    except ImportError as error:
        print(f"no plots: {error} (script/setup bench)", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in PLOTS.items():
        pattern = re.compile(plot.pattern)
        chosen = [row for row in rows if pattern.fullmatch(row.figure) and row.samples]
        if not chosen:
            continue
        figure, axes = pyplot.subplots(figsize=(7.2, _height(plot, chosen)))
        plot.paint(axes, chosen, pattern)
        if plot.is_log:
            axes.set_xscale("log") if plot.paint is not _lines else axes.set_yscale("log")
        axes.set_title(plot.title, loc="left", fontsize=10)
        if plot.x_label:
            axes.set_xlabel(plot.x_label)
            axes.set_ylabel(plot.unit)
        else:
            axes.set_xlabel(plot.unit)
        figure.tight_layout()
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        pyplot.close(figure)
    return 0


def _pyplot() -> Any:
    sys.path.append(str(PEERS / "matplotlib"))
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(STYLE)
    from matplotlib import pyplot

    return pyplot


def _height(plot: Plot, rows: list[Row]) -> float:
    return 3.4 if plot.paint is _lines else 1.0 + 0.27 * len(rows)


def _colours(rows: list[Row]) -> dict[str, str]:
    names = list(dict.fromkeys(row.who for row in rows))
    others = iter(THEIR_COLOURS * len(names))
    return {
        name: OUR_COLOUR if name.startswith(OURS) and "/proc" not in name else next(others)
        for name in names
    }


def _bars(axes: Any, rows: list[Row], pattern: re.Pattern[str]) -> None:
    """Medians, with the range as a line."""
    rows = rows[::-1]
    for place, row in enumerate(rows):
        low, high = row.median - min(row.samples), max(row.samples) - row.median
        colour = OUR_COLOUR if row.who.startswith(OURS) else THEIR_COLOURS[-1]
        axes.barh(place, row.median, 0.65, xerr=[[low], [high]], color=colour,
                  error_kw={"elinewidth": 0.8, "ecolor": "#404040"})  # fmt: skip
        axes.annotate(f"{row.median:.3g}", (max(row.samples), place), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    axes.set_yticks(range(len(rows)), [row.who for row in rows])
    axes.margins(x=0.12)


def _spread(axes: Any, rows: list[Row], pattern: re.Pattern[str]) -> None:
    """Every sample: a box for the middle half, and dots for the rest."""
    rows = rows[::-1]
    names = [f"{row.who}, {_group(pattern, row)}" for row in rows]
    boxes = axes.boxplot([row.samples for row in rows], vert=False, whis=(1, 99), widths=0.6,
                         patch_artist=True, flierprops={"markersize": 2.5})  # fmt: skip
    for box, row in zip(boxes["boxes"], rows, strict=True):
        box.set_facecolor(OUR_COLOUR if row.who == OURS else THEIR_COLOURS[-1])
    axes.set_yticks(range(1, len(rows) + 1), names)
    axes.axvline(1.0, color="#b00000", linewidth=1)
    axes.annotate("systemd restarts", (1.0, 0.5), xytext=(-4, 2), textcoords="offset points",
                  ha="right", fontsize=8, color="#b00000")  # fmt: skip
    axes.set_xlim(0, 1.08)


def _lines(axes: Any, rows: list[Row], pattern: re.Pattern[str]) -> None:
    """A line for each candidate, over what the figure says in its first group."""
    for name, colour in _colours(rows).items():
        several = [row for row in rows if row.who == name]
        places = [_number(pattern, row) for row in several]
        axes.plot(places, [row.median for row in several], "o-", color=colour, label=name, ms=4)
        lows, highs = zip(*((min(row.samples), max(row.samples)) for row in several), strict=True)
        axes.fill_between(places, lows, highs, color=colour, alpha=0.13, lw=0)
    places = sorted({_number(pattern, row) for row in rows})
    if places[-1] > 50 * places[0]:
        axes.set_xscale("log")
    axes.set_xticks(places, [f"{place:,g}" for place in places])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _group(pattern: re.Pattern[str], row: Row) -> str:
    found = pattern.fullmatch(row.figure)
    assert found, "only rows that match are drawn"
    return str(found[1])


def _number(pattern: re.Pattern[str], row: Row) -> float:
    return float(_group(pattern, row).replace(",", ""))


PLOTS = {
    "readiness": Plot(r"target serves to READY=1, http, start of (.*) s",
                      "From the moment the daemon answers until READY=1 (http)", "ms", _lines,
                      "the start of the daemon takes, s", is_log=True),
    "start": Plot("exec of the wrapper to exec of the target", "Until the daemon is started", "ms",
                  _bars),
    "memory": Plot("memory when ready, http, PSS", "Memory of one wrapper, ready (PSS)", "MB",
                   _bars),
    "cpu": Plot("CPU per hour when ready, http, W = 30 s",
                "CPU in an hour, once ready (WatchdogSec=30s, http)", "s", _bars),
    "pings": Plot("gap between pings, W = 1 s, (idle|every core busy twice over)",
                  "Gap between pings / WatchdogSec=1s", "gap / WatchdogSec", _spread),
    "scale": Plot("(.*) services, until all are active", "Services started at once",
                  "s until all are active", _lines, "services"),
    "growth": Plot("CPU of a tcp attempt, (.*) sockets open", "CPU of one tcp attempt", "us",
                   _lines, "TCP sockets open on the machine", is_log=True),
}  # fmt: skip
