"""Traefik's own READY=1, beside notifywrap's: how long after its route serves?"""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.rows import OURS, Row, missing
from tests.bench.running import LIMIT_S, Run, free_port, stay_up
from tests.bench.wrappers import ROOT, ours

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
NATIVE = "Traefik's own READY=1"
FIGURE = "Traefik's route answers 200 to READY=1 (below 0: READY=1 is too early)"
LOOK_S = 0.002
ROUTE = """\
http:
  routers:
    route:
      rule: "Path(`/route`)"
      service: ping@internal
"""


def measure_traefik(rounds: int) -> list[Row]:
    """The real program, with a route from a file; asked for it every 2 ms from outside."""
    path = shutil.which("traefik", path=str(ROOT / ".venv/bin"))
    if path is None:
        return [missing(GROUP, FIGURE, NATIVE, "ms", "not installed (script/setup bench)")]
    samples: dict[str, list[float]] = {OURS: [], NATIVE: []}
    for turn in range(-1, max(1, rounds // 2)):
        for who, found in samples.items():
            late_ms = _late_ms(path, is_wrapped=who == OURS)
            if turn >= 0:
                found.append(late_ms)
    return [Row(GROUP, FIGURE, who, "ms", tuple(found)) for who, found in samples.items()]


def _late_ms(path: str, *, is_wrapped: bool) -> float:
    folder, port = Path(tempfile.mkdtemp(prefix="traefik-")), free_port()
    (folder / "route.yml").write_text(ROUTE)
    words = [
        path, f"--entryPoints.web.address=127.0.0.1:{port}", "--ping", "--ping.manualrouting",
        f"--providers.file.filename={folder}/route.yml", "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]  # fmt: skip
    if is_wrapped:
        words = [*ours("--probe", f"http://127.0.0.1:{port}/route"), *words]
    with Run(words, cwd=str(folder)) as run, ThreadPoolExecutor(1) as beside:
        ready_ns = beside.submit(run.inbox.wait, b"READY=1")
        served_ns = _until_routed(run, port)
        return (ready_ns.result() - served_ns) / 1e6


def _until_routed(run: Run, port: int) -> int:
    """When the first request for the route was answered with 200, in ns."""
    deadline = time.monotonic() + LIMIT_S
    request = b"GET /route HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as client:
                client.sendall(request)
                if client.recv(64).startswith(b"HTTP/1.1 200"):
                    return time.monotonic_ns()
        except OSError:
            pass  # it does not listen yet
        stay_up(run.pid, LOOK_S)
    raise AssertionError("Traefik never serves its route")


MEASUREMENTS = (measure_traefik,)
