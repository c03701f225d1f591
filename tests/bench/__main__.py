"""`script/bench`: all measurements in one run, side by side with what users would take instead."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.bench import (
    ending,
    growth,
    library,
    memory,
    pings,
    plots,
    quota,
    readiness,
    scale,
    start,
    steady,
    traefik,
)
from tests.bench.table import as_json, as_table
from tests.bench.tidy import tidied

MODULES = (
    library, start, readiness, traefik, memory, steady, pings, quota, ending, growth, scale,
)  # fmt: skip
GROUPS = {module.GROUP: module.MEASUREMENTS for module in MODULES}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of: {', '.join(GROUPS)}; all")
    parser.add_argument("--rounds", type=int, default=20, help="of each measurement (20)")
    parser.add_argument("--json", action="store_true", help="everything, each sample too")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw what was measured, as SVG")
    args = parser.parse_args(words)
    unknown = set(args.groups) - set(GROUPS)
    if unknown or args.rounds < 1:
        parser.error(f"no such group: {', '.join(unknown)}" if unknown else "no rounds: no figures")
    rows = []
    try:
        with tidied():
            for group in args.groups or GROUPS:
                for measure in GROUPS[group]:
                    print(f"{group}: {measure.__name__.replace('_', ' ')} ...", file=sys.stderr)
                    rows += measure(args.rounds)
    except KeyboardInterrupt:
        print("given up", file=sys.stderr)
        return 130
    print(as_json(rows) if args.json else as_table(rows))
    if args.plots:
        return plots.draw(rows, args.plots)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
