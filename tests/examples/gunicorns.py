"""What the tests of the recipes for gunicorn share."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

from tests.conftest import REPOSITORY
from tests.examples.web import ask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from notifywrap.testing.lab import Lab
    from tests.conftest import Unit

CLIENT = str(REPOSITORY / "tests/system/client.py")
PYTHON = "/usr/bin/python3"
PORT = 8000
GET = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
ANSWER = "is at your service"
WORKERS = 3
SERVING = f"serving with {WORKERS} workers"
LIMIT_S = 30.0
# gunicorn makes gthread of a sync worker with threads.
KINDS = {"sync": ("--worker-class=sync", "--threads=1"), "gthread": ("--worker-class=gthread",)}


def install(
    lab: Lab, example: Callable[..., Unit], name: str, *options: str, **settings: str
) -> Unit:
    """The example, with a page that hangs, these options of gunicorn's and settings of the unit."""
    one = example(name, start=False, **settings)
    lines = ["[Service]", "Environment=DEMONSTRATE=hang"]
    lines.append(f'Environment="GUNICORN_CMD_ARGS={" ".join(options)}"')
    lab.install(f"{one.name}.d/options.conf", "\n".join(lines))
    return one


def count_first_answers(lab: Lab, one: Unit, times: int) -> int:
    """How often a request is answered that comes right after `systemctl start`."""
    words = (CLIENT, "first", one.name, str(times), str(PORT), GET, ANSWER)
    done = lab.run(PYTHON, *words, check=True, timeout_s=times * 10.0)
    return sum(ANSWER in reply for reply in json.loads(done.stdout))


def load(lab: Lab, seconds: float) -> dict[str, int]:
    """Eight clients ask again and again: how many requests were answered, how many failed."""
    words = (CLIENT, "load", str(PORT), str(seconds), "8", GET, ANSWER)
    done = lab.run(PYTHON, *words, check=True, timeout_s=seconds + LIMIT_S)
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


def answering_worker(lab: Lab) -> str:
    """The pid of the one that answers, as the lab counts."""
    reply = ask(lab, PORT)
    found = re.match(rf"worker (\d+) {ANSWER}", reply.text)
    assert found, reply
    return found[1]


def status_of(one: Unit) -> str:
    return one.show("StatusText")["StatusText"]


def wait_status(one: Unit, pattern: str) -> str:
    """Wait for a STATUS that begins like this, and return it."""
    seen = [""]

    def is_said() -> bool:
        seen[0] = status_of(one)
        return bool(re.match(pattern, seen[0]))

    poll(is_said, f"STATUS {pattern!r}", lambda: f"{seen[0]}\n{one.journal()}")
    return seen[0]


def poll(is_so: Callable[[], bool], what: str, story: Callable[[], str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline, f"waited {LIMIT_S:g} s for {what}\n{story()}"
        time.sleep(0.02)


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"no {old!r} in {path}"
    path.write_text(text.replace(old, new))


__all__ = [
    "ANSWER",
    "KINDS",
    "PORT",
    "SERVING",
    "WORKERS",
    "answering_worker",
    "ask",
    "count_first_answers",
    "install",
    "load",
    "poll",
    "rewrite",
    "status_of",
    "wait_status",
]
