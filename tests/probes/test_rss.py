"""`rss:`: what the target's processes have in memory, all of them together."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from notifywrap.errors import SpecError
from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import FdsProbe, RssProbe
from notifywrap.policy.probespec import parse_probe
from notifywrap.policy.targetspec import format_size
from notifywrap.probes import hidden
from tests.runtime.wrapped import Wrapped, target, until

if TYPE_CHECKING:
    from tests.runtime.wrapped import Inbox

MIB = 1 << 20
# Takes memory, touches it, and says so; `fork` does it in a child that lives on.
GROW = """
kept = []
say("up")
for line in sys.stdin:
    word, size = line.split()
    if word == "fork" and os.fork():
        continue
    kept.append(bytearray(b"x") * int(size))
    say(f"took {size}")
    if word == "fork":
        signal.pause()
"""


def rss(limit: int) -> RssProbe:
    return RssProbe("rss:x", limit)


def resident(*pids: int) -> int:
    """What ps(1) says, in bytes."""
    words = ["ps", "-o", "rss=", *(f"-p{pid}" for pid in pids)]
    return sum(map(int, subprocess.check_output(words, text=True).split())) * 1024


def test_it_fails_when_the_target_has_grown_and_says_how_much(spawn, attempt, targets):
    """The leak that ends in the OOM killer, and takes the neighbours along."""
    helper = spawn(GROW)
    assert helper.line() == "up"
    goal = targets(helper.pid)
    limit = resident(helper.pid) + 16 * MIB
    assert attempt(rss(limit), goal).outcome is Outcome.PASSED
    helper.tell(f"take {32 * MIB}")
    helper.line()
    sample = attempt(rss(limit), goal)
    assert sample.outcome is Outcome.FAILED
    assert sample.reason == f"rss {format_size(resident(helper.pid))} of {format_size(limit)}"
    assert attempt(rss(resident(helper.pid)), goal).outcome is Outcome.PASSED, "at most: up to it"


def test_children_count(spawn, attempt, targets):
    """The master of a server with workers stays small for ever."""
    helper = spawn(GROW)
    assert helper.line() == "up"
    goal = targets(helper.pid)
    helper.tell(f"fork {48 * MIB}")
    helper.line()
    limit = resident(helper.pid) + 40 * MIB
    assert attempt(rss(limit), goal).outcome is Outcome.FAILED
    (child,) = Path(f"/proc/{helper.pid}/task/{helper.pid}/children").read_text().split()
    assert attempt(rss(resident(helper.pid, int(child))), goal).outcome is Outcome.PASSED


def test_processes_that_come_and_go_meanwhile_are_no_trouble(spawn, attempt, targets):
    """One that ended between the list and the look has no memory."""
    helper = spawn(
        """
        say("up")
        while True:
            for _ in range(8):
                if os.fork() == 0: os._exit(0)
            for _ in range(8): os.wait()
        """
    )
    assert helper.line() == "up"
    goal = targets(helper.pid)
    for _ in range(300):
        assert attempt(rss(1 << 40), goal).outcome is Outcome.PASSED


def test_a_target_that_has_ended_does_not_pass(spawn, attempt, targets):
    """It has no memory at all: below any limit, and no evidence of health."""
    helper = spawn("pass")
    goal = targets(helper.pid)
    until(lambda: " Z " in Path(f"/proc/{helper.pid}/stat").read_text(), "it is a zombie")
    assert attempt(rss(MIB), goal).reason == "not running"
    helper.process.wait()
    assert attempt(rss(MIB), goal).reason == "not running"
    helper.end = lambda: None


def test_a_process_whose_main_thread_has_ended_has_its_memory_still(spawn, attempt, targets):
    """Its leader is a zombie then, for which /proc shows nothing at all."""
    helper = spawn(
        """
        import ctypes
        kept = bytearray(b"x") * (16 << 20)
        threading.Thread(target=time.sleep, args=(60,)).start()
        say("up")
        ctypes.CDLL(None).syscall(60, 0)  # exit(2), of this thread only
        """
    )
    assert helper.line() == "up"
    until(lambda: " Z " in Path(f"/proc/{helper.pid}/stat").read_text(), "its leader is a zombie")
    goal = targets(helper.pid)
    assert attempt(rss(16 * MIB), goal).outcome is Outcome.FAILED
    assert attempt(rss(64 * MIB), goal).outcome is Outcome.PASSED
    assert attempt(FdsProbe("fds:90", 90), goal).outcome is Outcome.PASSED


def test_what_cannot_be_seen_is_said(monkeypatch):
    """Neither a pass nor a failure: a limit that nobody checks is no protection."""

    def refuse(_: str) -> int:
        raise PermissionError(13, "")

    def miss(_: str) -> int:
        raise FileNotFoundError(2, "")

    def find_empty(_: str) -> int:
        words: list[str] = []
        return int(words[0])

    assert hidden.look_at(os.getpid(), refuse) == (0, "permission denied")
    assert hidden.look_at(os.getpid(), miss) == (0, "hidden from us (ProtectProc=, hidepid=)")
    with subprocess.Popen(["true"]) as gone:
        until(lambda: " Z " in Path(f"/proc/{gone.pid}/stat").read_text(), "it is a zombie")
        assert hidden.look_at(gone.pid, refuse) == (0, hidden.HAS_ENDED)
    assert hidden.look_at(gone.pid, miss) == (0, hidden.HAS_ENDED)
    assert hidden.look_at(gone.pid, find_empty) == (0, hidden.HAS_ENDED)
    monkeypatch.setattr(hidden, "_ALWAYS_THERE", "/no/such/file")
    assert hidden.look_at(os.getpid(), miss) == (0, "there is no /proc")


@pytest.mark.parametrize(
    ("text", "limit"),
    [("512M", 512 * MIB), ("1.5G", 1536 * MIB), ("4096", 4096), ("1T", 1 << 40), ("3K", 3072)],
)
def test_sizes_are_written_as_systemd_writes_them(text: str, limit: int):
    """MemoryMax= in the same unit must not mean something else: 1024, not 1000."""
    probe = parse_probe(f"rss:{text}", "--live", lambda *_: ())
    assert probe == RssProbe(f"rss:{text}", limit)


@pytest.mark.parametrize("text", ["0", "-1M", "M", "1X", "1.M", "nan", "inf", "1e3", "1 M", "٣M"])
def test_what_is_no_size_is_refused(text: str):
    """Before anything starts, with an example."""
    with pytest.raises(SpecError, match="rss:512M"):
        parse_probe(f"rss:{text}", "--live", lambda *_: ())


@pytest.mark.slow
def test_above_the_limit_no_ping_goes_out_and_status_says_why(inbox: Inbox):
    """The whole way: systemd restarts it for the watchdog, and the journal has the number."""
    options = ("--ready", "alive", "--live", "rss:1M", "--period", "20ms")
    with Wrapped(target("told", "none"), *options, inbox=inbox, watchdog_s=20):
        inbox.wait("READY")
        assert "M of 1M" in inbox.wait("STATUS", "unhealthy: rss:1M: ")["STATUS"]
        inbox.drain()
        inbox.wait("STATUS", "M of 1M")
        assert not any("WATCHDOG" in message for message in inbox.drain())


@pytest.fixture
def inbox(tmp_path: Path):
    """A socket for NOTIFY_SOCKET that somebody reads."""
    from tests.runtime.wrapped import Inbox

    with Inbox(tmp_path / "notify") as one:
        yield one
