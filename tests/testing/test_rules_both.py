"""Each rule of the stand-in, by one test that runs under it and under the real systemd.

Where they differ, a test that passes with the stand-in proves nothing about the service.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from notifywrap.testing.systemdlab import SystemdLab
from tests.testing.sides import SPEAKER, Side, StandInSide, SystemdSide

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
WATCHDOG_S = 0.5
LONGER_S = 1.5  # than that, as a busy machine has it
START_S = 2.0  # enough for a busy machine to start an interpreter


@pytest.fixture(scope="session")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SystemdLab]]:
    """Those of other Debian releases that are up."""
    up: dict[str, SystemdLab] = {}
    yield up
    for lab in up.values():
        lab.down()


def lab_of(suite: str, labs: dict[str, SystemdLab], shown: Path) -> SystemdLab:
    tree = REPOSITORY / ".cache/rootfs" / suite
    if not tree.is_dir():
        pytest.skip(f"there is no {tree.relative_to(REPOSITORY)} (script/test --all-systemd)")
    if suite not in labs:
        binds = [SPEAKER.parent, f"{shown}:rw"]
        labs[suite] = SystemdLab(REPOSITORY, rootfs=tree, binds=binds)
        labs[suite].up()
    return labs[suite]


@pytest.fixture(
    params=[
        "stand-in",
        pytest.param("systemd", marks=[pytest.mark.systemd, pytest.mark.slow]),
        pytest.param("trixie", marks=[pytest.mark.systemd, pytest.mark.slow]),
        pytest.param("sid", marks=[pytest.mark.systemd, pytest.mark.slow]),
    ]
)
def side(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Side]:
    """The stand-in, this machine's systemd, and newer ones."""
    if request.param == "stand-in":
        one: Side = StandInSide(tmp_path)
        yield one
        one.close()
        return
    lab = request.getfixturevalue("systemd_lab")  # skips where there can be none
    if request.param != "systemd":
        labs = request.getfixturevalue("labs")
        lab = lab_of(request.param, labs, tmp_path_factory.getbasetemp())
        lab.begin()
    one = SystemdSide(tmp_path, lab)
    yield one
    one.close()
    lab.clean_up()


def test_the_first_of_a_repeated_key_wins(side: Side) -> None:
    """Who appends to a message what it must not say has said nothing."""
    side.start()
    side.say(r"STATUS=one\nX=1\nSTATUS=two")
    assert side.status == "one"


def test_a_message_is_4096_bytes_at_most(side: Side) -> None:
    """One byte more, and all of it is dropped: READY=1 too."""
    side.start()
    side.say(r"READY=1\nX=" + "x" * (4097 - len("READY=1\nX=")))
    assert side.state == "activating"
    side.say(r"READY=1\nX=" + "x" * (4096 - len("READY=1\nX=")))
    assert side.state == "active"


def test_a_nul_drops_the_message_unless_it_ends_it(side: Side) -> None:
    """A C program's string with its terminator is fine; what a caller has let in is not."""
    side.start()
    side.say(r"STATUS=a\x00b")
    assert side.status == ""
    side.say(r"READY=1\nSTATUS=whole\x00")
    assert (side.state, side.status) == ("active", "whole")


def test_a_status_that_is_not_utf8_clears_it(side: Side) -> None:
    """The rest of the message counts."""
    side.start()
    side.say(r"STATUS=fine")
    assert side.status == "fine"
    side.say(r"STATUS=caf\xe9\nREADY=1")
    assert (side.state, side.status) == ("active", "")


def test_a_carriage_return_ends_an_assignment(side: Side) -> None:
    """As a newline does: a text with one in it is an injection."""
    side.start()
    side.say(r"STATUS=fine\rREADY=1")
    assert (side.state, side.status) == ("active", "fine")


def test_a_backslash_at_the_end_drops_the_message(side: Side) -> None:
    """An error text that ends with one would lose READY=1."""
    side.start()
    side.say(r"READY=1\nSTATUS=C:\x5c")
    assert (side.state, side.status) == ("activating", "")
    side.say(r"READY=1\nSTATUS=C:\x5c\x5c")
    assert (side.state, side.status) == ("active", "C:\\")


@pytest.mark.parametrize(("access", "heard"), [("main", ""), ("all", "by a child"), ("none", "")])
def test_notify_access_goes_by_the_senders_pid(side: Side, access: str, heard: str) -> None:
    """A worker that says READY=1 is not heard, and the unit waits for ever. `none` is `main`."""
    side.start(notify_access=access)
    side.ask("child STATUS=by a child")
    assert side.status == heard
    side.say("STATUS=by itself")
    assert side.status == "by itself"


def test_a_barrier_is_alone_in_its_message(side: Side) -> None:
    """Else nothing in it counts, and the descriptor is closed all the same."""
    side.start()
    side.ask(r"give 1 BARRIER=1\nREADY=1\nSTATUS=too much")
    assert (side.state, side.status) == ("activating", "")


def test_ready_arms_the_watchdog(side: Side) -> None:
    """WatchdogSec= runs from there, not from the start and not from the first ping."""
    side.start(watchdog_s=WATCHDOG_S)
    side.say("STATUS=starting")
    assert side.fed_at == 0.0
    side.tell("say READY=1")
    assert side.wait_end() == "watchdog"


def test_a_ping_feeds_the_watchdog(side: Side) -> None:
    """What it is all about."""
    side.start(watchdog_s=60.0)
    side.say("READY=1")
    armed_at = side.fed_at
    assert armed_at > 0.0
    side.say("WATCHDOG=1")
    assert side.fed_at > armed_at


def test_a_ping_before_ready_arms_the_watchdog(side: Side) -> None:
    """The start is cut short by WatchdogSec= then."""
    side.start(watchdog_s=WATCHDOG_S)
    side.tell("say WATCHDOG=1")
    assert side.wait_end() == "watchdog"


def test_trigger_needs_no_watchdog(side: Side) -> None:
    """A service may give up on itself without WatchdogSec=."""
    side.start()
    side.tell("say READY=1\nsay WATCHDOG=trigger")
    assert side.wait_end() == "watchdog"


@pytest.mark.slow
def test_watchdog_usec_changes_the_watchdog(side: Side) -> None:
    """Zero turns it off, and a length turns it on where the unit has none."""
    side.start(watchdog_s=WATCHDOG_S)
    side.tell(r"say READY=1\nWATCHDOG_USEC=0")
    side.wait(lambda: side.state == "active")
    side.stays("active", LONGER_S)
    side.tell("say WATCHDOG_USEC=200000")
    assert side.wait_end() == "watchdog"


@pytest.mark.slow
def test_extend_timeout_is_a_moment_and_the_later_one_counts(side: Side) -> None:
    """A smaller one, or zero, does not take back what was granted."""
    side.start(start_timeout_s=START_S)
    side.say("EXTEND_TIMEOUT_USEC=60000000")
    side.say("EXTEND_TIMEOUT_USEC=1000")
    side.say("EXTEND_TIMEOUT_USEC=0")
    side.stays("activating", START_S + 0.5)
    side.say("READY=1")
    assert side.state == "active"


@pytest.mark.slow
def test_extend_timeout_does_not_add_up(side: Side) -> None:
    """Who says it a hundred times has no more time than who says it once."""
    side.start(start_timeout_s=START_S)
    side.ask("flood 100 EXTEND_TIMEOUT_USEC=2500000")
    assert side.wait_end() == "timeout"


@pytest.mark.slow
def test_extend_timeout_moves_the_watchdog_as_well(side: Side) -> None:
    """Said by a service that runs, it is a way not to be watched."""
    side.start(watchdog_s=WATCHDOG_S)
    side.tell(r"say READY=1\nEXTEND_TIMEOUT_USEC=60000000")
    side.wait(lambda: side.state == "active")
    side.stays("active", LONGER_S)


@pytest.mark.slow
def test_stopping_stops_the_watchdog(side: Side) -> None:
    """A service that drains its connections does not have to ping."""
    side.start(watchdog_s=WATCHDOG_S)
    side.tell("say READY=1\nsay STOPPING=1")
    side.wait(lambda: side.state == "deactivating")
    assert side.fed_at == 0.0
    side.stays("deactivating", LONGER_S)
    side.tell("exit 0")
    assert side.wait_end() == "success"


def test_a_ping_while_stopping_arms_the_watchdog_again(side: Side) -> None:
    """So whoever has said STOPPING=1 had better not ping any more."""
    side.start(watchdog_s=WATCHDOG_S)
    side.tell("say READY=1\nsay STOPPING=1\nsay WATCHDOG=1")
    assert side.wait_end() == "watchdog"


def test_stopping_beats_ready_and_ready_beats_reloading(side: Side) -> None:
    """In one message. Before systemd 254 the last one won."""
    if side.version < 254:
        pytest.skip(f"systemd {side.version} has another rule, 254 brought this one")
    side.start()
    side.say(r"READY=1\nRELOADING=1")
    assert side.state == "active"
    side.say(r"STOPPING=1\nREADY=1")
    assert side.state == "deactivating"


def test_a_reload_lasts_from_reloading_to_ready(side: Side) -> None:
    """What is ordered after it waits so long."""
    side.start()
    side.say("READY=1")
    side.say("RELOADING=1")
    assert side.state == "reloading"
    side.say("READY=1")
    assert side.state == "active"


def test_an_end_before_ready_is_a_broken_promise(side: Side) -> None:
    """Even with exit status 0."""
    side.start()
    side.tell("exit 0")
    assert side.wait_end() == "protocol"
