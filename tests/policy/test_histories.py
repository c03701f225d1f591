"""Each rule of what systemd is told, as a short history with its outcome."""

import itertools

import pytest
from life import BROKEN, CONT, FAIL, HUP, KILL, LATE, PASS, TCP, TERM, TSTP, Life

from notifywrap.policy.events import Abort, Again, OpenAttempt, Outcome, Sample, Sampled
from notifywrap.policy.exits import ExitStatus
from notifywrap.policy.probe import LOOKUP_PACE, DiscoverProbe, ExecProbe, TcpProbe
from notifywrap.policy.spec import Spec
from notifywrap.policy.state import State

STARVED = "this machine was starved"
UNHEARD = Sample(Outcome.FAILED, "nobody listens", unheard=True)


def test_ready_comes_with_the_first_ping_once_all_ready_probes_passed():
    """The watchdog is armed at READY: the evidence for it is the evidence for the first ping."""
    life = Life()
    assert life.told_keys() == []
    assert life.ready().told_keys() == ["READY", "WATCHDOG"]


def test_every_ready_probe_must_pass():
    """One of two open ports is not a service."""
    life = Life(ready=(TCP, ExecProbe("exec:true", ("true",))))
    first, second = life.open
    life.play(Sampled(first, PASS))
    assert life.told_keys() == []
    life.open.pop(first)
    assert life.play(Sampled(second, PASS)).told_keys() == ["READY", "WATCHDOG"]


def test_ready_probe_is_not_tried_again_once_it_passed():
    """A probe that passed costs nothing while another one is awaited."""
    life = Life(ready=(TCP, ExecProbe("exec:false", ("false",))))
    first = next(iter(life.open))
    life.open.pop(first)
    life.play(Sampled(first, PASS)).sample(FAIL).wait(5)
    assert [p.text for p in life.open.values()] == ["exec:false"]


def test_without_a_watchdog_there_are_no_pings():
    """WatchdogSec= is optional: readiness and STATUS work without it."""
    life = Life(watchdog_s=None).ready().rounds(PASS, FAIL, PASS)
    assert life.told_keys() == ["READY"]
    assert any("unhealthy" in text for text in life.told("STATUS"))


def test_ping_stops_when_target_turns_unhealthy():
    """A watchdog that pings for a sick target is worse than none."""
    life = Life().ready().rounds(PASS, FAIL, FAIL, FAIL)
    assert len(life.pings()) == 2


def test_pings_come_back_with_health():
    """One failed attempt is not a verdict for ever."""
    assert len(Life().ready().rounds(FAIL, PASS, PASS).pings()) == 3


def test_one_probe_that_says_no_ends_the_round_without_a_ping():
    """The others cannot outvote it."""
    life = Life(live=(TCP, TcpProbe("tcp:81", (("127.0.0.1", 81),)))).ready().wait(1.0)
    alive, first, second = life.open
    for attempt, sample in ((alive, PASS), (first, PASS), (second, FAIL)):
        life.open.pop(attempt, None)
        life.play(Sampled(attempt, sample))
    assert len(life.pings()) == 1
    assert life.machine.health.round_is_over


def test_target_that_is_not_alive_gets_no_ping():
    """A stopped process still has a listening socket."""
    life = Life().ready().wait(1.0)
    alive = next(iter(life.open))
    life.open.pop(alive)
    life.play(Sampled(alive, Sample(Outcome.FAILED, "stopped")))
    assert len(life.pings()) == 1
    assert "the target is stopped" in life.told("STATUS")[-1]


def test_rounds_keep_their_period():
    """A long round must not push the next one back, or pings drift out of WatchdogSec."""
    life = Life().ready().wait(1.0)
    for _ in range(8):
        life.sample(PASS, 0.5).wait(0.5)
    assert [now - 100.0 for now in life.pings()] == pytest.approx(
        [0, *[n + 0.5 for n in range(1, 9)]]
    )


def test_starved_machine_gets_pings_for_one_grant_at_most():
    """A time-out while we could not run proves nothing; a hang must not hide behind it.

    systemd waits another WatchdogSec after the last ping: a real hang is acted on within two.
    """
    life = Life().ready().rounds(*[LATE] * 12, excuse=STARVED)
    first = life.pings()[0]
    assert 3.0 <= life.pings()[-1] - first < 4.0
    assert any("undecided" in text for text in life.told("STATUS"))


def test_grace_is_new_for_a_new_incident():
    """One starved minute today must not cost the service its grace tomorrow."""
    life = Life().ready().rounds(*[LATE] * 12, excuse=STARVED).rounds(PASS)
    before = len(life.pings())
    assert len(life.rounds(LATE, LATE, excuse=STARVED).pings()) == before + 2


def test_time_out_without_excuse_is_a_failure():
    """A hang is what the watchdog is for."""
    assert len(Life().ready().rounds(LATE, LATE).pings()) == 1


def test_broken_probe_gives_no_ping_and_is_tried_again_soon():
    """It says nothing of the target, so it must be repeated before systemd acts."""
    life = Life().ready().rounds(BROKEN)
    assert len(life.pings()) == 1
    life.sample(PASS, 0.25)
    assert len(life.pings()) == 2


@pytest.mark.parametrize("state", ["starting", "active", "reloading"])
def test_stop_signal_is_announced_once_and_forwarded_with_cont(state):
    """STOPPING=1 turns the watchdog off.

    A stopped target acts on TERM only when it is continued.
    """
    life = Life()
    if state != "starting":
        life.ready()
    if state == "reloading":
        life.signal(HUP)
    life.signal(TERM).signal(TERM)
    assert life.told_keys().count("STOPPING") == 1
    assert life.forwarded()[-4:] == [TERM, CONT, TERM, CONT]


def test_nothing_is_gated_once_stopping():
    """A daemon that drains answers 503; the watchdog is off, so nobody asks it any more."""
    life = Life().ready().wait(1.0).signal(TERM)
    assert life.open == {}
    life.wait(60.0)
    assert life.open == {}
    assert len(life.pings()) == 1


@pytest.mark.parametrize("signum", [2, 3, 10, 12, 28, 34])
def test_other_signals_are_forwarded_and_nothing_else(signum):
    """QUIT for a thread dump must not stop the unit."""
    life = Life().ready().signal(signum)
    assert life.forwarded() == [signum]
    assert life.machine.state is State.ACTIVE


def test_custom_stop_signal_is_the_one_that_stops():
    """Some units set KillSignal=QUIT; TERM is then one signal among others."""
    life = Life(stop_signal=3).ready().signal(TERM)
    assert "STOPPING" not in life.told_keys()
    assert "STOPPING" in life.signal(3).told_keys()


def test_job_control_stops_the_wrapper_too():
    """A shell that stops its job means all of it."""
    life = Life().ready().signal(TSTP)
    assert [type(a).__name__ for _, a in life.log][-2:] == ["Forward", "Stop"]


def test_reload_is_announced_before_the_signal_and_closed_by_ready():
    """systemd waits for READY=1 after RELOADING=1 with its MONOTONIC_USEC, in one datagram."""
    life = Life().ready().signal(HUP)
    kinds = [type(action).__name__ for _, action in life.log]
    assert kinds.index("Forward") > max(i for i, k in enumerate(kinds) if k == "Notify") - 1
    assert life.told("MONOTONIC_USEC") == [str(int(life.now * 1e6))]
    life.ready()
    assert life.told_keys() == ["READY", "WATCHDOG", "RELOADING", "READY", "WATCHDOG"]


def test_reload_that_fails_ends_in_ready_all_the_same():
    """A reload that hangs is the field's commonest notify-reload bug.

    STATUS says that it failed.
    """
    life = Life(reload_timeout_s=5.0).ready().signal(HUP)
    for _ in range(40):
        life.sample(FAIL, 0.2)
    assert life.told_keys().count("READY") == 2
    assert any("reload failed" in text for text in life.said())


def test_failed_reload_sends_no_ping_of_its_own():
    """READY=1 closes the reload, but there is no evidence that would earn a ping."""
    life = Life(reload_timeout_s=5.0).ready().signal(HUP)
    before = len(life.pings())
    for _ in range(40):
        life.sample(FAIL, 0.2)
    assert len(life.pings()) == before


def test_watchdog_goes_on_while_reloading():
    """systemd keeps the watchdog armed in its reload states."""
    life = Life().ready().signal(HUP)
    life.wait(1.0)
    watched = [attempt for attempt in life.open if life.machine.health.owns(attempt)]
    for attempt in watched:
        life.open.pop(attempt)
        life.play(Sampled(attempt, PASS))
    assert life.machine.state is State.RELOADING
    assert len(life.pings()) == 2


def test_target_without_handler_is_not_sent_the_reload_signal():
    """HUP's default is death."""
    life = Life().ready().signal(HUP, handled=False)
    assert life.forwarded() == []
    assert "RELOADING" not in life.told_keys()


@pytest.mark.parametrize("status", [ExitStatus(0), ExitStatus(3), ExitStatus(0, 11)])
@pytest.mark.parametrize("ready", [False, True])
def test_end_is_mirrored_at_once(status, ready):
    """Before READY too: systemd must not wait for a start timeout."""
    life = Life()
    if ready:
        life.ready()
    life.exit(*status)
    assert life.exits() == [status]
    assert life.machine.next_deadline() is None


def test_dying_target_is_never_made_ready():
    """What its probes found a moment before must not outlive it."""
    life = Life()
    attempt = next(iter(life.open))
    life.exit(1).play(Sampled(attempt, PASS))
    assert "READY" not in life.told_keys()


def test_abort_stops_the_target_and_then_kills_it():
    """Nothing is left running when notifywrap fails, and 125 says whose fault it was."""
    life = Life(kill_after_s=10.0).ready().play(Abort("bug"))
    assert life.forwarded() == [TERM, CONT]
    assert life.wait(10.0).forwarded() == [TERM, CONT, KILL]
    assert life.exit(signum=9).exits() == [ExitStatus(125)]


def test_status_is_sent_on_change_and_at_most_once_a_second():
    """Every datagram wakes PID 1."""
    life = Life()
    for _ in range(300):
        life.sample(FAIL, 0.01)
    assert len(life.told("STATUS")) <= 5


def test_status_says_what_failed_how_often_and_how_long_is_left():
    """At 3 a.m. this one line is all there is."""
    life = Life().ready().rounds(PASS, FAIL, FAIL)
    life.wait(0.5)
    last = life.told("STATUS")[-1]
    assert "tcp:80: connection refused" in last
    assert "2 in a row" in last
    assert "systemd acts in" in last


def discovering(**changes):
    return Life(Spec(("target",), (DiscoverProbe(),), (), watchdog_s=4.0, period_s=1.0), **changes)


def found(*probes):
    return Sample(Outcome.PASSED, found=probes)


def test_zero_config_waits_until_the_sockets_have_settled():
    """An admin port may open a second before the one that matters."""
    life = discovering().sample(found(TCP), 0.05)
    life.sample(found(TCP), 0.2)
    assert [p.text for p in life.open.values()] == []
    for _ in range(20):
        life.sample(found(TCP), 0.02)
    assert "READY" in life.told_keys()
    assert "guessed" in life.told("STATUS")[-1]


def test_zero_config_starts_over_when_another_socket_appears():
    """READY with half of the ports open is what this tool exists to prevent."""
    other = TcpProbe("tcp:81", (("127.0.0.1", 81),))
    life = discovering()
    for _ in range(10):
        life.sample(found(TCP), 0.02)
    for _ in range(5):
        life.sample(found(TCP, other), 0.02)
    assert "READY" not in life.told_keys()
    for _ in range(20):
        life.sample(found(TCP, other), 0.02)
    assert "READY" in life.told_keys()
    life.wait(1.0)
    assert {p.text for p in life.open.values()} == {"alive", "tcp:80", "tcp:81"}


def test_zero_config_without_any_socket_says_what_to_add():
    """A target that listens on nothing never becomes ready this way.

    Its owner must hear how to say so.
    """
    life = discovering()
    for _ in range(60):
        life.sample(Sample(Outcome.FAILED, "no listening socket yet", unheard=True), 0.05)
    assert life.told("STATUS")[-1].startswith("starting: the target listens on no socket")
    assert "--ready" in life.told("STATUS")[-1]


def test_zero_config_that_cannot_see_does_not_say_that_there_is_nothing():
    """Who reads "listens on no socket" of a server that listens looks in the wrong place."""
    life = discovering()
    for _ in range(60):
        life.sample(Sample(Outcome.BROKEN, "cannot see who listens: there is no /proc"), 0.05)
    assert "cannot see who listens: there is no /proc" in life.told("STATUS")[-1]
    assert "--ready" in life.told("STATUS")[-1]


def test_attempts_while_starting_slow_down_with_the_time_waited():
    """A start of ten seconds must not cost a core."""
    life = Life()
    while life.now < 110:
        life.sample(FAIL, 0.001)
    opened = [now for now, action in life.log if isinstance(action, OpenAttempt)]
    gaps = [(b - 100, b - a) for a, b in itertools.pairwise(opened)]
    assert all(gap >= min(0.0196 * waited, 0.008) - 1e-9 for waited, gap in gaps)
    assert max(gap for _, gap in gaps) <= 0.010


def test_what_nobody_hears_is_tried_again_without_the_machine():
    """It would decide the same thing a hundred times a second."""
    life = Life()
    opened = lambda: [action for _, action in life.log if isinstance(action, OpenAttempt)][-1]
    assert opened().again is None  # what a first attempt finds is news
    life.sample(UNHEARD).wait(0.1)
    assert opened().again == Again(LOOKUP_PACE, 100.0, UNHEARD.reason)
    life.sample(FAIL).wait(0.1)
    assert opened().again is None  # somebody listens, and says no: that is counted
    life.ready().wait(1.0)
    assert opened().again is None  # a live round's attempt ends, whatever it finds


def test_failed_reload_of_a_guessed_target_goes_on_watching_what_was_found():
    """A target that listens on nothing after its reload must not be pinged for being alive."""
    life = discovering(reload_timeout_s=5.0)
    for _ in range(20):
        life.sample(found(TCP), 0.02)
    life.signal(HUP)
    for _ in range(40):
        life.sample(Sample(Outcome.FAILED, "no listening socket yet"), 0.2)
    life.wait(1.0)
    assert [probe.text for probe in life.machine.health.probes] == ["alive", "tcp:80"]


def test_failed_reload_is_not_taken_for_a_ping():
    """STATUS says how long until systemd acts, and READY=1 does not move its watchdog."""
    life = Life(reload_timeout_s=2.0, watchdog_s=40.0, period_s=10.0).ready().signal(HUP)
    before = life.machine.last_ping
    while life.machine.state is State.RELOADING:
        life.sample(FAIL, 0.2)
    assert life.machine.last_ping == before


def test_target_that_flaps_does_not_flood_the_journal():
    """One hung worker of two: STATUS follows each turn, the journal need not."""
    life = Life(watchdog_s=1.0, period_s=0.25, timeout_s=0.25).ready().rounds(*[FAIL, PASS] * 40)
    said = [text for text in life.said() if "healthy" in text]
    assert 2 <= len(said) <= 6
    assert "healthy again" in said[1]
