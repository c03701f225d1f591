"""Every Python from 3.11 on that is here: the library says the same, and the wrapper starts."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.wrapped import ROOT, TARGETS, clean_environment, target

if TYPE_CHECKING:
    from tests.runtime.wrapped import Inbox

MINORS = (11, 12, 13, 14)
MOST_S = 30.0


def find(minor: int) -> str | None:
    """An interpreter of this version: in PATH, or where pyenv(1) and uv(1) keep theirs."""
    name = f"python3.{minor}"
    kept = [*Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/{name}")]
    kept += Path.home().glob(f".local/share/uv/python/cpython-3.{minor}.*/bin/{name}")
    candidates = [str(each) for each in kept] + [shutil.which(name) or ""]
    return next((each for each in candidates if each and is_one(each, minor)), None)


def is_one(path: str, minor: int) -> bool:
    """Does it run? A version manager's stand-in for an interpreter may not."""
    ask = [path, "-I", "-S", "-c", "import sys; print(sys.version_info.minor)"]
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    return done.stdout.strip() == str(minor)


@pytest.fixture(params=MINORS, ids=lambda minor: f"3.{minor}")
def python(request: pytest.FixtureRequest) -> str:
    found = find(request.param)
    if found is None:
        pytest.skip(f"there is no Python 3.{request.param} here")
    return found


def test_the_library_says_the_same_under_each(inbox: Inbox, python: str) -> None:
    """A daemon moves to its distribution's next Python, and nobody looks at its notifications."""
    env = clean_environment(NOTIFY_SOCKET=inbox.path, WATCHDOG_USEC="1000000")
    tour = [python, "-I", "-S", str(TARGETS / "library_tour.py"), str(ROOT)]
    with subprocess.Popen(
        tour, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert inbox.next() == {"READY": "1", "STATUS": "up"}
        assert process.stdout.readline() == b"worker\n"
        inbox.wait("WATCHDOG", "1")
        process.stdin.write(b"\n")
        process.stdin.flush()
        inbox.wait("RELOADING", "1")
        inbox.wait("STATUS", "by sdnotify's face")
        inbox.wait("STATUS", "by systemd.daemon's face")
        assert process.stdout.readline() == b"asyncio\n"
        inbox.wait("WATCHDOG", "1")
        _, errors = process.communicate(b"\n", timeout=MOST_S)
        inbox.wait("STOPPING", "1")
        assert (process.returncode, b"Error" in errors) == (0, False), errors


@pytest.mark.parametrize("flags", [["-I"], ["-I", "-S"]], ids=["site", "without site"])
def test_the_wrapper_runs_under_each(inbox: Inbox, python: str, flags: list[str]) -> None:
    """Its lean start stands on the interpreter's own C modules, which may change."""
    start = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r});"
        " from notifywrap.cli.__main__ import main; sys.exit(main())"
    )
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = str(held.getsockname()[1])
    command = [
        *(python, *flags, "-c", start, "--probe", f"http://127.0.0.1:{port}/"),
        *("--", *target("server", "--speaks", "http", port)),
    ]
    env = clean_environment(NOTIFY_SOCKET=inbox.path, WATCHDOG_USEC="400000")
    wrapper = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert inbox.wait("READY", "1")
        for _ in range(3):
            inbox.wait("WATCHDOG", "1")
    finally:
        wrapper.terminate()
        _, errors = wrapper.communicate(timeout=MOST_S)
    assert wrapper.returncode == -15, errors
    assert b"Traceback" not in errors
