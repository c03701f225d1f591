"""Who is measured beside notifywrap as a wrapper: how each is started, and what is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.rows import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BARE", "CONSOLE", "PEERS", "ROOT", "Wrapper", "by_name", "console", "ours", "peer_path"]

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".cache/bench"  # one directory each: `script/setup bench` makes them
USUAL = Path(__file__).with_name("usual")
BARE = "bare python3 -I -S"
CONSOLE = f"{OURS}, console script"
# What `python3 -IS FILE` runs; the file itself finds only a copy that pip has installed.
_RUN = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
    "from notifywrap.cli.__main__ import main; sys.exit(main())"
)


class Wrapper(NamedTuple):
    """How to put it around a target: *words*, with URL and PAUSE (W/2 in s) in them, go before.

    lack  why it cannot be measured; "" when it can
    """

    name: str
    words: tuple[str, ...]
    env: Mapping[str, str] = {}
    lack: str = ""

    def around(self, target: list[str], url: str = "", watchdog_s: float = 2.0) -> list[str]:
        told = {"URL": url, "PAUSE": f"{watchdog_s / 2:g}"}
        return [*(told.get(word, word) for word in self.words), *target]


def ours(*options: str) -> list[str]:
    """The command line of the fastest way to call it, `python3 -IS FILE`, up to the target."""
    return [sys.executable, "-I", "-S", "-c", _RUN, *options, "--log-level=error", "--"]


def console(*options: str) -> list[str]:
    """The same by the script that pip has installed."""
    return [str(ROOT / ".venv/bin/notifywrap"), *options, "--log-level=error", "--"]


def peer_path(name: str) -> tuple[dict[str, str], str]:
    """(environment in which a Python finds the peer, why it is not there)"""
    where = PEERS / name
    lack = "" if where.is_dir() else f"not installed: there is no {where.relative_to(ROOT)}"
    return {"PYTHONPATH": str(where)}, lack


@cache
def _version(program: str, words: tuple[str, ...]) -> str:
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return f" {found[0]}" if found else ""


def _program(name: str, *words: str) -> Wrapper:
    """A Debian package's program that takes `-- COMMAND`."""
    if shutil.which(name) is None:
        return Wrapper(name, (), {}, f"not installed: there is no {name} (script/setup bench)")
    return Wrapper(name + _version(name, ("--version",)), (name, *words, "--"))


def _shell_loop() -> Wrapper:
    lacks = [name for name in ("curl", "systemd-notify") if shutil.which(name) is None]
    lack = f"not installed: there is no {lacks[0]}" if lacks else ""
    words = ("/bin/bash", str(USUAL / "loop.sh"), "URL", "PAUSE")
    return Wrapper("shell loop (curl, systemd-notify)", words, {}, lack)


def _python_wrapper() -> Wrapper:
    env, lack = peer_path("sdnotify")
    words = (sys.executable, str(USUAL / "wrapper.py"), "URL")
    return Wrapper("Python wrapper (urllib, sdnotify)", words, env, lack)


def by_name(*names: str) -> list[Wrapper]:
    """Of tini, dumb-init, shell, python: these."""
    makers = {
        "tini": lambda: _program("tini", "-s"),
        "dumb-init": lambda: _program("dumb-init"),
        "shell": _shell_loop,
        "python": _python_wrapper,
    }
    return [makers[name]() for name in names]
