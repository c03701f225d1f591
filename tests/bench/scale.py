"""Many services at once under a real systemd: wrapped, and as Type=simple."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from notifywrap.testing.lab import Lab, LabError, unavailable
from tests.bench import proc
from tests.bench.rows import OURS, Row, no_figure
from tests.bench.running import LIMIT_S, TARGET, stay_up
from tests.bench.wrappers import ROOT

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
COUNTS = (20, 100, 200)
FIRST_PORT = 20_000  # below the ports that clients are given; the lab's loopback is its own
WATCHDOG_S = 10
WINDOW_S = 10.0
SIMPLE = "Type=simple"
LAUNCHER = "/opt/notifywrap.py"
UNIT = """\
[Unit]
StartLimitIntervalSec=0
[Service]
"""
START = "until all are active"
SERVED = "until all serve"


def measure_scale(rounds: int) -> list[Row]:
    """`systemctl start` of all at once; then what each wrapper holds and uses, http, W = 10 s."""
    why = unavailable()
    if why is not None:
        return [no_figure(GROUP, f"{max(COUNTS)} services, {START}", OURS, "s", why)]
    found: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(max(1, rounds // 20)):
        for count in COUNTS:
            for who in (SIMPLE, OURS):
                with Lab(binds=[ROOT]) as lab:
                    for (figure, unit), values in _started(lab, count, who).items():
                        found.setdefault((figure, who, unit), []).extend(values)
    return [
        Row(GROUP, figure, who, unit, tuple(values))
        for (figure, who, unit), values in found.items()
    ]


def _started(lab: Lab, count: int, who: str) -> dict[tuple[str, str], list[float]]:
    python = f"{sys.executable} -I -S"
    target = f"{python} {TARGET} %i 0"
    wrapped = f"{python} {LAUNCHER} --probe http://127.0.0.1:%i/ -- {target}"
    if who == OURS:
        section = f"Type=notify\nWatchdogSec={WATCHDOG_S}s\nExecStart={wrapped}\n"
        (lab.root / LAUNCHER[1:]).write_text(
            f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            "from notifywrap.cli.__main__ import main\nsys.exit(main())\n"
        )
    else:
        section = f"{SIMPLE}\nExecStart={target}\n"
    lab.install("bench@.service", UNIT + section)
    ports = [FIRST_PORT + number for number in range(count)]
    units = [f"bench@{port}.service" for port in ports]
    began = time.monotonic()
    lab.systemctl("start", *units, check=True, timeout_s=LIMIT_S)
    found = {(f"{count} services, {START}", "s"): [time.monotonic() - began]}
    while _listening(lab) < count:
        if time.monotonic() > began + LIMIT_S:
            raise LabError(f"of {count} services {_listening(lab)} serve")
        stay_up(lab.pid, 0.01)
    found[f"{count} services, {SERVED}", "s"] = [time.monotonic() - began]
    failed = lab.systemctl("--failed", "--no-legend", "list-units").stdout.strip()
    if failed:
        raise LabError(f"services have failed:\n{failed}")
    return found | (_costs(lab, count) if who == OURS else {})


def _costs(lab: Lab, count: int) -> dict[tuple[str, str], list[float]]:
    wrappers = [pid for pid in proc.tree(lab.pid) if proc.runs_script(pid, "notifywrap.py")]
    if len(wrappers) != count:
        raise LabError(f"{len(wrappers)} wrappers run, not {count}")
    stay_up(lab.pid, WATCHDOG_S / 4)  # the first live round
    before = [proc.cpu_s(pid) for pid in wrappers]
    stay_up(lab.pid, WINDOW_S)
    cpu = [
        (proc.cpu_s(pid) - spent) / WINDOW_S * 100
        for pid, spent in zip(wrappers, before, strict=True)
    ]
    memory = [proc.memory_mb(pid) for pid in wrappers]
    return {
        (f"{count} services, CPU of each wrapper, W = {WATCHDOG_S} s", "% of a core"): cpu,
        **{
            (f"{count} services, {sort} of each wrapper", "MB"): [one[sort] for one in memory]
            for sort in ("RSS", "PSS", "USS")
        },
    }


def _listening(lab: Lab) -> int:
    """Sockets that listen, in the lab's network. Source: proc_pid_net(5), state 0A."""
    rows = Path(f"/proc/{lab.pid}/net/tcp").read_text().splitlines()[1:]
    return sum(row.split()[3] == "0A" for row in rows)


MEASUREMENTS = (measure_scale,)
