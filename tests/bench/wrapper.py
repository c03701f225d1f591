"""The wrapper beside a bare interpreter: time until the target runs, memory, CPU while waiting."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.fresh import Listener
from tests.bench.rows import OURS, Row

if TYPE_CHECKING:
    from typing import Self

__all__ = ["MEASUREMENTS"]

GROUP = Path(__file__).stem
SCRIPT = Path(__file__).resolve().parents[2] / "notifywrap/bin/notifywrap"
BARE = "bare python3 -I -S"
CONSOLE = f"{OURS}, console script"
WAIT_S = 2.0
LAUNCH = f"import sys; sys.path.insert(0, {str(SCRIPT.parents[2])!r}); "
# What the two ways to start it do: with `site`, as a console script, and `python3 -IS FILE`.
RUN = LAUNCH + "from notifywrap.cli.__main__ import main; sys.exit(main())"
WAYS = {OURS: ["-I", "-S", "-c", RUN], CONSOLE: ["-c", RUN]}
STAMP = "import time; print(time.monotonic_ns(), flush=True); import signal; signal.pause()"
SERVER = (
    "import socket\n"
    "server = socket.create_server(('127.0.0.1', {port}))\n"
    "while True:\n"
    "    client, _ = server.accept()\n"
    "    client.recv(65536)\n"
    "    client.sendall(b'HTTP/1.1 204 No Content\\r\\nConnection: close\\r\\n\\r\\n')\n"
    "    client.close()\n"
)


class Wrapped:
    """A wrapper around `python3 -c PROGRAM`, to the end of the `with` block."""

    def __init__(self, way: str, probe: str, program: str, address: str) -> None:
        env = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}
        target = [sys.executable, "-I", "-c", program]
        self.began_ns = time.monotonic_ns()
        self.process = subprocess.Popen(
            [sys.executable, *WAYS[way], "--probe", probe, "--log-level=error", "--", *target],
            env=env,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)

    def line(self) -> str:
        """What the target says."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 60)[0], "the target says nothing"
        return self.process.stdout.readline().decode()

    def cpu_s(self) -> float:
        """CPU time that it has had. Source: proc(5), schedstat."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9


def rss_mb(pid: int) -> float:
    """Resident memory, in MB. Source: proc_pid_smaps_rollup(5)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition("Rss:")[2].split()[0]) / 1024


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def measure_start(rounds: int) -> list[Row]:
    """From the exec of the wrapper to that of the target, less what an interpreter needs to say
    the time; beside `python3 -I -c pass`, from its exec to its end."""
    samples: dict[str, list[float]] = {name: [] for name in ("python3 -I -c pass", STAMP, *WAYS)}
    with Listener() as listener:
        for turn in range(-1, rounds):
            found = {"python3 -I -c pass": _time_ns(["-I", "-c", "pass"])}
            began_ns = time.monotonic_ns()
            alone = subprocess.Popen(
                [sys.executable, "-I", "-c", STAMP], stdout=subprocess.PIPE, text=True
            )
            assert alone.stdout is not None
            found[STAMP] = int(alone.stdout.readline()) - began_ns
            alone.kill()
            alone.communicate()
            for way in WAYS:
                with Wrapped(way, "alive", STAMP, listener.path) as wrapped:
                    found[way] = int(wrapped.line()) - wrapped.began_ns - found[STAMP]
            for name, length_ns in found.items() if turn >= 0 else ():
                samples[name].append(length_ns / 1e6)
    base = samples["python3 -I -c pass"]
    figure = "exec of the wrapper to exec of the target / `python3 -I -c pass`"
    return [
        Row(GROUP, figure, way, "x", tuple(a / b for a, b in zip(samples[way], base, strict=True)),
            1.5)
        for way in WAYS
    ]  # fmt: skip


def measure_memory(rounds: int) -> list[Row]:
    """Resident when ready, after some live rounds, beside a bare interpreter in the same turn."""
    rows = []
    for kind in ("listen:{}", "tcp:{}", "http://127.0.0.1:{}/"):
        samples: dict[str, list[float]] = {way: [] for way in WAYS}
        for turn in range(-1, rounds):
            bare = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", "import sys; print(1, flush=True); input()"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            assert bare.stdout is not None
            bare.stdout.readline()
            base = rss_mb(bare.pid)
            bare.communicate(b"\n")
            for way in WAYS:
                found = _ready_mb(way, kind)
                if turn >= 0:
                    samples[way].append(found / base)
        figure = f"memory when ready / {BARE}, RSS, {kind.partition(':')[0]}"
        rows += [Row(GROUP, figure, way, "x", tuple(samples[way]), 1.35) for way in WAYS]
    return rows


def measure_waiting(rounds: int) -> list[Row]:
    """CPU of the wrapper while its target does not listen yet, half a second after its start."""
    rows = []
    for kind in ("listen:{}", "tcp:{}", "http://127.0.0.1:{}/"):
        found = []
        with Listener() as listener:
            for _ in range(max(1, rounds // 5)):
                with Wrapped(OURS, kind.format(free_port()), STAMP, listener.path) as wrapped:
                    wrapped.line()
                    time.sleep(0.5)
                    before = wrapped.cpu_s()
                    time.sleep(WAIT_S)
                    found.append((wrapped.cpu_s() - before) / WAIT_S * 100)
        figure = f"CPU while waiting, {kind.partition(':')[0]}"
        rows.append(Row(GROUP, figure, OURS, "% of a core", tuple(found), 2.0))
    return rows


def _time_ns(words: list[str]) -> int:
    began_ns = time.monotonic_ns()
    subprocess.run([sys.executable, *words], check=True)
    return time.monotonic_ns() - began_ns


def _ready_mb(way: str, kind: str) -> float:
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="notifywrap-bench-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(f"{folder}/notify")
        manager.settimeout(60)
        program = SERVER.format(port=port)
        with Wrapped(way, kind.format(port), program, f"{folder}/notify") as wrapped:
            pings = 0
            while pings < 4:
                pings += b"WATCHDOG=1" in manager.recv(4096)
            return rss_mb(wrapped.process.pid)


MEASUREMENTS = (measure_start, measure_memory, measure_waiting)
