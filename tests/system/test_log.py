"""`log:` and `fd:` under the real systemd: what the journal shows, and real daemons that log when
they are ready."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.daemons import BIN, DAEMONS, Daemon, first_replies

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Unit

    UnitMaker = Callable[..., Unit]

pytestmark = pytest.mark.systemd

# What each of them logs once it serves: Prometheus and NATS on stderr, redis on stdout.
LINES = {
    "redis": "Ready to accept connections",
    "prometheus": "Server is ready to receive web requests",
    "nats": "Server is ready$",
}


def service(command: str, *options: str, **settings: Any) -> dict[str, Any]:
    """The [Service] section; `$` and `%` mean something in a unit."""
    words = shlex.join([f"{BIN}/notifywrap", *options, "--"]).replace("%", "%%").replace("$", "$$")
    return {"Type": "notify", "ExecStart": f"{words} {command}", "KillMode": "mixed", **settings}


@pytest.mark.parametrize(
    "name",
    ["redis", *(pytest.param(name, marks=pytest.mark.slow) for name in ("prometheus", "nats"))],
)
def test_a_daemon_that_logs_when_it_is_ready_is_ready_then(
    unit: UnitMaker, tmp_path: Path, name: str
) -> None:
    """Its own word for it, and the journal has all that it says under the name of the unit."""
    daemon: Daemon = DAEMONS[name](tmp_path)
    options = ("--ready", f"log:{LINES[name]}")
    one = unit(**service(daemon.command, *options, SyslogIdentifier="its-name"), start=False)
    replies = first_replies(one, daemon, times=3)
    assert [daemon.answer in reply for reply in replies] == [True] * 3, replies
    assert LINES[name].rstrip("$") in one.journal("-t", "its-name")
    one.stop()
    assert one.show("Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """The command that runs some Python."""

    def write(code: str) -> str:
        path = tmp_path / "target.py"
        path.write_text(f"import os, signal\n{code}")
        return f"/usr/bin/python3 -IS {path}"

    return write


def test_the_lines_are_in_order_and_carry_what_the_target_gave_them(
    unit: UnitMaker, script: Callable[[str], str]
) -> None:
    """stdout and stderr in turn; a <3> is an error still, and the name is SyslogIdentifier='s."""
    command = script(
        "for i in range(3000): os.write(1 + i % 2, b'line %d\\n' % i)\n"
        "os.write(2, b'<3>an error\\n')\n"
        "os.write(1, b'ready\\n')\n"
        "os.write(1, b'JOURNAL_STREAM' in os.environb and b'told\\n' or b'not told\\n')\n"
        "signal.pause()\n"
    )
    one = unit(**service(command, "--ready", "log:^ready$", SyslogIdentifier="its-name"))
    one.stop()
    lines = one.journal("-t", "its-name").splitlines()
    at = lines.index("line 0")
    assert lines[at : at + 3000] == [f"line {i}" for i in range(3000)]
    assert lines[at + 3000 : at + 3003] == ["an error", "ready", "not told"]
    assert one.journal("-t", "its-name", "-p", "err").splitlines() == ["an error"]
    assert any("ready after" in line for line in lines)


def test_last_words_reach_the_journal(unit: UnitMaker, script: Callable[[str], str]) -> None:
    """A daemon that dies says why just before; more than a pipe holds, too."""
    command = script(
        "for i in range(5000): os.write(2, b'trace %d, a line of a long traceback\\n' % i)\n"
        "os._exit(7)\n"
    )
    one = unit(**service(command, "--ready", "log:never"), start=False)
    assert one.start(check=False).returncode != 0
    traced = [line for line in one.journal().splitlines() if line.startswith("trace ")]
    assert len(traced) == 5000
    assert traced[-1].startswith("trace 4999,")
    assert one.show("ExecMainStatus")["ExecMainStatus"] == "7"


def test_journald_may_be_restarted(unit: UnitMaker, script: Callable[[str], str]) -> None:
    """An upgrade does it: the streams live on in systemd, and nothing is lost or held up."""
    command = script(
        "os.write(1, b'ready\\n')\n"
        "signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'still here\\n'))\n"
        "while True: signal.pause()\n"
    )
    one = unit(**service(command, "--ready", "log:^ready$"))
    one.lab.systemctl("restart", "systemd-journald.service", check=True)
    one.kill("USR1", "--kill-who=main")
    one.lab.wait(one.name, ActiveState="active")
    one.stop()
    assert "still here" in one.journal()


def test_a_newline_on_a_descriptor_ends_the_start(
    unit: UnitMaker, script: Callable[[str], str]
) -> None:
    """As a daemon written for s6 says it."""
    command = script("os.write(1, b'working\\n'); os.write(3, b'up\\n'); signal.pause()\n")
    one = unit(**service(command, "--ready", "fd:3"))
    assert one.show("ActiveState")["ActiveState"] == "active"
    assert "working" in one.journal()
