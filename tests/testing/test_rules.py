"""The stand-in's rules, in virtual time: each is what systemd does with a Type=notify service."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifywrap.policy.exits import ExitStatus
from notifywrap.protocol.wire import parse
from notifywrap.testing.rules import Unit
from notifywrap.testing.states import Kill, KillMode, Note, NotifyAccess, Settings, Sub

MAIN = 100
GONE = ExitStatus(0, 0)


class Life:
    """A unit and its clock. The main process is started at 1000.0."""

    def __init__(self, **settings: object) -> None:
        self.now = 1000.0
        self.unit = Unit(Settings(**settings), MAIN, self.now)
        self.actions: list[object] = []

    def says(self, datagram: bytes, pid: int = MAIN) -> Life:
        self.actions += self.unit.on_message(parse(datagram), pid, self.now)
        return self

    def passes(self, seconds: float) -> Life:
        """Time passes; every timer runs when it is due."""
        end = self.now + seconds
        while (due := self.unit.next_deadline()) is not None and due <= end:
            self.now = due
            self.actions += self.unit.on_timer(due)
        self.now = end
        return self

    def exits(
        self, code: int = 0, signum: int = 0, dumped: bool = False, left: bool = False
    ) -> Life:
        self.actions += self.unit.on_exit(ExitStatus(code, signum), dumped, left, self.now)
        return self

    def empties(self) -> Life:
        self.actions += self.unit.on_empty(self.now)
        return self

    def stops(self) -> Life:
        self.actions += self.unit.stop(self.now)
        return self

    @property
    def kills(self) -> list[tuple[int, bool]]:
        return [tuple(action) for action in self.actions if isinstance(action, Kill)]

    @property
    def notes(self) -> list[str]:
        return [action.what for action in self.actions if isinstance(action, Note)]


def test_ready_makes_it_active() -> None:
    """`systemctl start` returns then, and not before."""
    life = Life().passes(3)
    assert life.unit.active_state == "activating"
    life.says(b"READY=1\nSTATUS=up")
    assert (life.unit.active_state, life.unit.status) == ("active", "up")
    assert life.unit.ready_at == 1003.0
    assert "active after 3.000 s" in [a.text for a in life.actions if isinstance(a, Note)]


def test_the_watchdog_is_armed_by_ready_and_fed_by_pings() -> None:
    """W runs from READY=1, then from each WATCHDOG=1."""
    life = Life(watchdog_s=3.0).passes(10).says(b"READY=1")
    life.passes(2.9).says(b"WATCHDOG=1").passes(2.9).says(b"WATCHDOG=1").passes(2.9)
    assert life.kills == []
    life.passes(0.2)
    assert life.kills == [(signal.SIGABRT, True)]
    assert life.unit.sub is Sub.STOP_WATCHDOG
    assert life.unit.largest_gap_s == pytest.approx(3.0)


def test_after_the_watchdog_kill_follows_abort() -> None:
    """TimeoutAbortSec after SIGABRT; the result stays watchdog."""
    life = Life(watchdog_s=1.0, abort_timeout_s=7.0).says(b"READY=1").passes(1 + 6.9)
    assert life.kills == [(signal.SIGABRT, True)]
    life.passes(0.2)
    assert life.kills[1:] == [(signal.SIGKILL, True)]
    life.exits(signum=signal.SIGKILL)
    assert life.unit.outcome.result == "watchdog"
    assert life.unit.active_state == "failed"


def test_kill_mode_mixed_signals_the_main_process_alone_until_kill() -> None:
    """So the wrapper alone gets SIGABRT, and has to pass it on."""
    life = Life(watchdog_s=1.0, kill_mode=KillMode.MIXED).says(b"READY=1").passes(1)
    assert life.kills == [(signal.SIGABRT, False)]
    life.exits(signum=signal.SIGABRT, left=True)
    assert life.kills[1:] == [(signal.SIGKILL, True)]  # the rest gets no grace
    assert not life.unit.ended
    assert life.empties().unit.ended


def test_control_group_gives_the_rest_a_term_first() -> None:
    """systemd's default: a target that survives its wrapper gets TERM, then KILL."""
    life = Life(stop_timeout_s=5.0).says(b"READY=1").exits(code=1, left=True)
    assert life.kills == [(signal.SIGTERM, True)]
    life.passes(5.1)
    assert life.kills[1:] == [(signal.SIGKILL, True)]
    assert life.empties().unit.outcome.result == "exit-code"


def test_a_start_that_takes_too_long_fails() -> None:
    """TimeoutStartSec."""
    life = Life(start_timeout_s=90).passes(89.9)
    assert life.kills == []
    life.passes(0.2)
    assert life.kills == [(signal.SIGTERM, True)]
    assert life.exits(signum=signal.SIGTERM).unit.outcome.result == "timeout"


def test_extend_timeout_is_a_moment_and_not_a_sum() -> None:
    """deadline = max(deadline, now + n): repeated ones do not pile up."""
    life = Life(start_timeout_s=10)
    life.says(b"EXTEND_TIMEOUT_USEC=30000000").says(b"EXTEND_TIMEOUT_USEC=30000000")
    life.says(b"EXTEND_TIMEOUT_USEC=1000000").says(b"EXTEND_TIMEOUT_USEC=0")
    assert life.unit.next_deadline() == 1030.0


def test_extend_timeout_moves_the_watchdog_as_well() -> None:
    """Said while running it would silence a hang: why the wrapper sends it only while starting."""
    life = Life(watchdog_s=1.0).says(b"READY=1").says(b"EXTEND_TIMEOUT_USEC=20000000")
    assert life.passes(19.9).kills == []
    assert life.passes(0.2).kills == [(signal.SIGABRT, True)]


def test_stopping_turns_the_watchdog_off_and_the_stop_timer_on() -> None:
    """Said too early it ends a healthy unit with Result=timeout."""
    life = Life(watchdog_s=1.0, stop_timeout_s=8.0).says(b"READY=1").says(b"STOPPING=1")
    assert life.unit.active_state == "deactivating"
    assert life.passes(7.9).kills == []  # no signal either: the service said it stops by itself
    assert life.passes(0.2).kills == [(signal.SIGKILL, True)]
    assert life.exits(signum=9).unit.outcome.result == "timeout"


def test_ready_after_stopping_makes_it_active_all_the_same() -> None:
    """While it starts, only the last word is kept (notify_state in service.c)."""
    life = Life().says(b"STOPPING=1")
    assert life.unit.active_state == "activating"
    assert life.says(b"READY=1").unit.active_state == "active"


def test_trigger_fires_without_a_watchdog() -> None:
    """WATCHDOG=trigger needs no WatchdogSec=."""
    life = Life().says(b"READY=1").says(b"WATCHDOG=trigger")
    assert life.kills == [(signal.SIGABRT, True)]
    assert life.unit.result == "watchdog"


def test_watchdog_usec_changes_the_grant_at_run_time() -> None:
    """It also counts as a ping; 0 turns the watchdog off."""
    life = Life(watchdog_s=1.0).says(b"READY=1").passes(0.9).says(b"WATCHDOG_USEC=5000000")
    assert life.passes(4.9).kills == []
    assert life.says(b"WATCHDOG_USEC=0").passes(1000).kills == []


def test_a_ping_before_ready_arms_the_watchdog() -> None:
    """Why the wrapper must not ping while it starts."""
    life = Life(watchdog_s=1.0).says(b"WATCHDOG=1").passes(1.1)
    assert life.kills == [(signal.SIGABRT, True)]


def test_only_the_main_process_may_speak() -> None:
    """NotifyAccess=main looks at the sender's pid; what is refused is told."""
    life = Life().says(b"READY=1", pid=MAIN + 1)
    assert life.unit.active_state == "activating"
    assert life.notes == ["ignored"]
    assert Life(notify_access=NotifyAccess.NONE).says(b"READY=1", pid=MAIN + 1).notes == ["ignored"]
    assert Life(notify_access=NotifyAccess.NONE).says(b"READY=1").unit.ready_at
    assert Life(notify_access=NotifyAccess.ALL).says(b"READY=1", pid=7).unit.ready_at


@pytest.mark.parametrize(
    ("how", "result", "state"),
    [
        ({"code": 0}, "success", "inactive"),
        ({"code": 143}, "exit-code", "failed"),
        ({"signum": signal.SIGTERM}, "success", "inactive"),
        ({"signum": signal.SIGHUP}, "success", "inactive"),
        ({"signum": signal.SIGKILL}, "signal", "failed"),
        ({"signum": signal.SIGSEGV, "dumped": True}, "core-dump", "failed"),
    ],
)
def test_the_end_is_judged_as_systemd_does(how: dict[str, int], result: str, state: str) -> None:
    """HUP, INT, TERM and PIPE are clean; 128 + n is not."""
    unit = Life().says(b"READY=1").exits(**how).unit
    assert (unit.outcome.result, unit.active_state) == (result, state)


def test_a_clean_exit_before_ready_breaks_the_protocol() -> None:
    """Result=protocol: the service never was."""
    assert Life().exits(code=0).unit.outcome.result == "protocol"
    assert Life().exits(code=3).unit.outcome.result == "exit-code"


def test_stop_is_term_then_kill() -> None:
    """TimeoutStopSec."""
    life = Life(stop_timeout_s=5.0).says(b"READY=1").stops()
    assert life.kills == [(signal.SIGTERM, True)]
    assert life.passes(5.1).kills[1:] == [(signal.SIGKILL, True)]


def test_ready_beats_reloading_and_stopping_beats_both() -> None:
    """One datagram with all of them says STOPPING."""
    assert Life().says(b"RELOADING=1\nREADY=1").unit.active_state == "active"
    life = Life().says(b"READY=1").says(b"READY=1\nRELOADING=1\nSTOPPING=1")
    assert life.unit.active_state == "deactivating"


def test_reloading_ends_with_ready_or_at_the_timeout() -> None:
    """A reload that is never answered does not end the unit."""
    life = Life(start_timeout_s=20).says(b"READY=1").says(b"RELOADING=1\nMONOTONIC_USEC=1")
    assert life.unit.active_state == "reloading"
    assert life.says(b"READY=1").unit.active_state == "active"
    life.says(b"RELOADING=1").passes(21)
    assert life.unit.active_state == "active"
    assert life.notes[-1] == "timeout"


def test_notify_reload_wants_a_moment_after_its_signal() -> None:
    """RELOADING=1 of an earlier reload, or without MONOTONIC_USEC, is no answer to this one."""
    life = Life(notify_reload=True).says(b"READY=1").passes(1)
    life.actions += life.unit.reload(life.now)
    assert life.kills == [(signal.SIGHUP, False)]
    life.says(b"RELOADING=1").says(b"RELOADING=1\nMONOTONIC_USEC=5").says(b"READY=1")
    assert life.unit.sub is Sub.RELOAD_SIGNAL
    life.says(b"RELOADING=1\nMONOTONIC_USEC=1001000000").says(b"READY=1")
    assert life.unit.sub is Sub.RUNNING


STEPS = st.one_of(
    st.sampled_from(
        [b"READY=1", b"WATCHDOG=1", b"STOPPING=1", b"RELOADING=1\nMONOTONIC_USEC=2000000000",
         b"WATCHDOG=trigger", b"EXTEND_TIMEOUT_USEC=9000000", b"WATCHDOG_USEC=700000"]
    ),
    st.floats(0.01, 50),
    st.sampled_from(["exit", "left", "empty", "stop", "reload"]),
)  # fmt: skip


@given(st.lists(STEPS, max_size=30), st.sampled_from(list(KillMode)), st.booleans())
def test_every_history_can_be_brought_to_an_end(
    steps: list[bytes | float | str], kill_mode: KillMode, reload: bool
) -> None:
    """No history leaves the stand-in without a timer while it stops: `try` would hang."""
    life = Life(watchdog_s=1.0, kill_mode=kill_mode, notify_reload=reload)
    for step in steps:
        if isinstance(step, bytes):
            life.says(step)
        elif isinstance(step, float):
            life.passes(step)
        elif step in ("exit", "left") and life.unit.exit is None:
            life.exits(left=step == "left")
        elif step == "empty" and life.unit.exit is not None:
            life.empties()
        elif step == "stop":
            life.stops()
        elif step == "reload":
            life.actions += life.unit.reload(life.now)
    life.stops()
    assert life.unit.ended or life.unit.next_deadline() is not None
    life.passes(1000)
    assert life.unit.ended or life.kills[-1] == (signal.SIGKILL, True)
    if life.unit.exit is None:
        life.exits(signum=9)
    assert life.empties().unit.ended
    assert life.notes.count("ended") == 1
