"""What single options change in a life: patience, stability, fail-after, mapped signals, reloads,
pid files, presets' hints."""

import pytest
from life import CONT, FAIL, HUP, KILL, PASS, TCP, TERM, Life

from notifywrap.policy.events import (
    Abort,
    Exit,
    Follow,
    Followed,
    OpenAttempt,
    Outcome,
    ReloadAsked,
    Sample,
    TargetExited,
)
from notifywrap.policy.exits import ExitStatus
from notifywrap.policy.probe import (
    DiscoverProbe,
    ExecProbe,
    Hint,
    LogProbe,
    Probe,
    TakenProbe,
    explain,
)
from notifywrap.policy.spec import Spec
from notifywrap.policy.state import State

QUIT, USR1 = 3, 10
PING = TCP._replace(text="http://127.0.0.1:80/ping")


def opened(life: Life) -> list[Probe]:
    return [action.probe for _, action in life.log if isinstance(action, OpenAttempt)]


def test_start_timeout_keeps_systemd_waiting():
    """A recovery of ten minutes must not end at TimeoutStartSec=90s."""
    life = Life(start_timeout_s=60.0)
    for _ in range(59):
        life.sample(FAIL, 1.0)
    moments = [now - 100 for now, a in life.log if "EXTEND_TIMEOUT_USEC" in str(a)]
    assert moments == pytest.approx([0, 10, 20, 30, 40, 50])
    assert life.machine.state is State.STARTING


def test_start_timeout_ends_with_125_and_says_what_was_missing():
    """The target has had its time: nothing is left running, and the reason is in STATUS."""
    life = Life(start_timeout_s=5.0)
    for _ in range(6):
        life.sample(FAIL, 1.0)
    assert life.forwarded() == [TERM, CONT]
    assert "tcp:80: connection refused" in life.said()[-1]
    assert life.exit(0).exits() == [ExitStatus(125)]


def test_stop_before_ready_says_what_was_missing():
    """systemd's own start timeout looks like any stop; the journal should tell why it came."""
    life = Life().sample(FAIL).signal(TERM)
    wanted = "stopped before it was ready: waiting for tcp:80: connection refused"
    assert life.said() == [wanted]


def test_nobody_is_asked_for_time_without_start_timeout_or_after_ready():
    """It would move the deadline of a running service's watchdog."""
    assert Life().wait(60.0).told("EXTEND_TIMEOUT_USEC") == []
    life = Life(start_timeout_s=60.0).ready()
    assert len(life.wait(50.0).told("EXTEND_TIMEOUT_USEC")) == 1


def test_stable_for_wants_an_unbroken_row():
    """Some daemons open their port, fail a moment later and start over."""
    life = Life(stable_for_s=2.0).sample(PASS)
    while life.now < 101.5:
        life.sample(PASS, 0.1)
    life.sample(FAIL, 0.1)
    while life.now < 103.4:
        life.sample(PASS, 0.1)
        assert "READY" not in life.told_keys()
    while life.now < 104.5:
        life.sample(PASS, 0.1)
    assert "READY" in life.told_keys()


def test_stable_for_does_not_take_an_attempt_that_hangs_for_a_pass():
    """The time alone proves nothing."""
    life = Life(stable_for_s=1.0).sample(PASS).wait(4.0)
    assert "READY" not in life.told_keys()


def test_fail_after_tells_systemd_at_once_and_once():
    """Who cannot wait for W: WATCHDOG=trigger after N rounds in a row."""
    life = Life(fail_after=2).ready().rounds(FAIL)
    assert life.told("WATCHDOG") == ["1"]
    assert life.rounds(FAIL).told("WATCHDOG") == ["1", "trigger"]
    assert life.rounds(FAIL, FAIL).told("WATCHDOG") == ["1", "trigger"]


def test_mapped_signal_takes_the_place_of_the_one_that_came():
    """nginx: TERM is a fast stop, QUIT a graceful one; STOPPING=1 all the same."""
    life = Life(signal_map={TERM: QUIT, USR1: 0}).ready().signal(USR1).signal(TERM)
    assert life.forwarded() == [QUIT, CONT]
    assert "STOPPING" in life.told_keys()


def test_swallowed_job_control_stops_nobody():
    """`--map-signal TSTP=0` asks for ^Z to do nothing, to the wrapper neither."""
    life = Life(signal_map={20: 0}).ready()
    before = len(life.log)
    assert life.signal(20, handled=False).log[before:] == []


def test_swallowed_term_does_not_keep_us_from_stopping_it_ourselves():
    """`--map-signal TERM=0` is for KillMode=control-group; our own stop must not wait for KILL."""
    life = Life(signal_map={TERM: 0}, start_timeout_s=1.0)
    life.sample(FAIL, 2.0)
    assert life.forwarded()[:1] == [TERM]


def test_address_is_said_once_and_words_of_a_pattern_are_not_taken_for_one():
    """ "log:closed: its output" would leave out what has happened."""
    assert explain(TCP._replace(text="tcp:h:80"), "h:80 refused") == "tcp:h:80: h:80 refused"
    assert explain(TCP._replace(text="tcp:[::1]:80"), "[::1]:80 refused") == "tcp:[::1]:80: refused"
    assert (
        explain(LogProbe("log:closed", "closed"), "closed for good")
        == "log:closed: closed for good"
    )


# --- reload ---------------------------------------------------------------------------------------


def test_reload_probes_only_when_the_target_has_taken_the_signal():
    """Its old self would pass, and `systemctl reload` return too early."""
    life = Life().ready().signal(HUP)
    assert list(life.open.values()) == [TakenProbe("the target to take HUP", HUP)]
    life.sample(FAIL, 0.001)
    assert not life.machine.readiness.slots[0].attempt
    life.sample(PASS, 0.001)
    assert TCP in life.open.values()


def test_reload_signal_can_be_another_one_for_the_target():
    """systemd sends HUP; some daemons reload at USR1."""
    life = Life(reload_signal=USR1).ready().signal(HUP)
    assert life.forwarded() == [USR1]
    assert next(iter(life.open.values())) == TakenProbe("the target to take 10", USR1)


def test_reload_command_is_run_once_and_its_failure_ends_the_reload():
    """`nginx -t && nginx -s reload`: a configuration that is refused is no reload."""
    life = Life(reload_command=("check", "me")).ready().signal(HUP)
    command = ExecProbe("--reload exec:check me", ("check", "me"))
    assert list(life.open.values()) == [command]
    assert life.forwarded() == []
    life.sample(Sample(Outcome.FAILED, "exit status 3"))
    assert life.reloads() == ["--reload exec:check me: exit status 3"]
    assert life.machine.state is State.ACTIVE
    assert "the last reload failed: --reload exec:check me" in life.wait(1.0).told("STATUS")[-1]
    assert opened(life).count(command) == 1
    assert life.signal(HUP).ready().reloads()[1:] == [""]
    assert "failed" not in life.wait(1.0).told("STATUS")[-1]


def test_reload_does_not_wait_for_a_line_that_was_logged_before():
    """A `log:` probe cannot pass twice: only what can be repeated is asked again."""
    life = Life(ready=(LogProbe("log:up", "up"),)).ready().signal(HUP).sample(PASS)
    assert life.reloads() == [""]


def test_reload_asked_for_is_always_answered():
    """`systemctl reload` waits for it."""
    assert Life().play(ReloadAsked()).reloads() == ["the service is starting"]
    assert Life().ready().play(ReloadAsked()).ready().reloads() == [""]
    refused = Life().ready().play(ReloadAsked(handled=False))
    assert "no handler" in refused.reloads()[0]
    stopped = Life().ready().play(ReloadAsked()).signal(TERM)
    assert stopped.reloads() == ["it is being stopped"]
    failed = Life(reload_timeout_s=2.0).ready().play(ReloadAsked()).wait(2.0)
    assert failed.reloads()[0] == "not ready after 2 s: waiting for the target to take HUP"


def test_reload_of_a_guessed_target_looks_at_its_sockets_again():
    """That it once said READY=1 says nothing of what it is like after the reload."""
    life = Life(Spec(("t",), (DiscoverProbe(),), (), watchdog_s=4.0, period_s=1.0, timeout_s=1.0))
    while "READY" not in life.told_keys():
        life.sample(PASS._replace(found=(TCP,)), 0.05)
    life.says("READY=1").signal(HUP).sample(PASS)
    assert life.machine.state is State.RELOADING
    for _ in range(20):
        life.sample(PASS._replace(found=(TCP,)), 0.05)
    assert life.reloads() == [""]


# --- pid file -------------------------------------------------------------------------------------


def forking(**changes: object) -> Life:
    return Life(pidfile="/run/x.pid", **changes)


def looks(life: Life) -> int:
    return sum(isinstance(action, Follow) for _, action in life.log)


def test_daemon_that_forks_is_looked_for_in_its_pid_file():
    """Its first process ends with 0 as soon as the real one runs."""
    life = forking().exit(0, heirs=True)
    assert life.exits() == []
    assert looks(life) == 1
    assert life.wait(1.0).exits() == []
    assert looks(life) > 10
    assert "READY" in life.play(Followed(7)).ready().told_keys()


def test_nothing_is_ready_while_nobody_is_followed():
    """READY=1 for a process that is gone would be a lie."""
    life = forking().exit(0, heirs=True)
    assert life.open == {}
    assert "READY" not in life.wait(3.0).told_keys()


def test_end_without_heirs_is_mirrored_at_once():
    """Nobody is left who could be named."""
    assert forking().ready().exit(3).exits() == [ExitStatus(3)]


def test_successor_that_is_never_named_is_not_waited_for_long():
    """The master has crashed and its workers live on: that is no service any more."""
    life = forking().ready().exit(0, 9, heirs=True).wait(5.0)
    assert life.exits() == [ExitStatus(0, 9)]


def test_last_of_the_tree_ends_the_wait_with_the_status_of_the_one_followed():
    """It is that process whose end systemd should see."""
    life = forking().ready().exit(4, heirs=True).exit(9)
    assert life.exits() == [ExitStatus(4)]


def test_signals_for_nobody_reach_the_successor():
    """A stop in the middle of an upgrade must not be lost."""
    life = forking().ready().exit(0, heirs=True).signal(TERM)
    assert life.forwarded() == []
    assert life.play(Followed(7)).forwarded() == [TERM, CONT]


def test_rounds_go_on_with_the_successor():
    """nginx after USR2: the new master serves, the watchdog wants to know at once."""
    life = forking().ready().exit(0, heirs=True).play(Followed(7))
    before = len(life.pings())
    assert len(life.sample(PASS).pings()) == before + 1


def test_abort_does_not_wait_for_a_successor():
    """We give up ourselves: what is left is systemd's to kill."""
    life = forking(start_timeout_s=5.0).exit(0, heirs=True).wait(5.0)
    assert life.exits() == [ExitStatus(125)]
    assert KILL not in life.forwarded()


# --- hints ----------------------------------------------------------------------------------------


def hinting() -> Life:
    probe = DiscoverProbe(hints=(Hint(80, "", PING, PING),))
    return Life(Spec(("t",), (probe,), (), watchdog_s=4.0, period_s=1.0, timeout_s=1.0))


def discovered(life: Life, ping: Sample, until: float) -> Life:
    """Discovery finds port 80 all the time, its accept check passes, the hint's probe gives
    *ping*."""
    samples = {DiscoverProbe: Sample(Outcome.PASSED, found=(TCP,))}
    while life.now < until and "READY" not in life.told_keys():
        life.wait(0.05)
        for attempt, probe in list(life.open.items()):
            if attempt in life.open:
                sample = samples.get(type(probe), PASS if probe == TCP else ping)
                life.end_attempt(attempt, sample)
    return life


def test_hint_asks_more_than_whether_the_socket_accepts():
    """A preset knows the page that tells."""
    life = discovered(hinting(), PASS, 102.0)
    assert PING in opened(life)
    assert TCP not in opened(life)
    assert PING.text in life.told("STATUS")[-1]


def test_hint_that_does_not_fit_gives_way_to_the_accept_check():
    """A daemon without /ping must not be down because somebody else's has it."""
    life = discovered(hinting(), Sample(Outcome.FAILED, "HTTP 404"), 110.0)
    assert 102.0 <= life.now <= 103.0
    assert any("/ping does not pass (HTTP 404)" in text for text in life.said())
    assert [probe.text for probe in life.machine.health.probes] == ["alive", TCP.text]


def test_the_last_status_says_why_the_target_was_given_up():
    """It is what `systemctl status` shows of a failed unit; within the second in which STATUS had
    just been sent, too."""
    life = Life(start_timeout_s=5.0)
    for _ in range(6):
        life.sample(FAIL, 1.0)
    last = life.exit(signum=TERM).told("STATUS")[-1]
    assert last.startswith("the target was killed by TERM; not ready after 5 s (--start-timeout)")
    assert "tcp:80: connection refused" in last


def test_the_last_status_says_what_a_stop_at_the_start_had_waited_for():
    """systemd's own start timeout ends so, and its user looks at the status first."""
    last = Life().sample(FAIL).signal(TERM).exit(signum=TERM).told("STATUS")[-1]
    assert "killed by TERM; stopped before it was ready: waiting for tcp:80" in last


def test_the_last_status_says_what_was_wrong_when_the_watchdog_acted():
    """The watchdog's ABRT ends the target: that is how, but not why."""
    life = Life().ready().rounds(FAIL, FAIL).signal(6)
    last = life.exit(signum=6).told("STATUS")[-1]
    assert last == "the target was killed by ABRT; it was unhealthy: tcp:80: connection refused"


def test_nothing_follows_the_exit_when_its_end_is_heard_late():
    """On a busy machine the moment to pass ABRT on, or to kill, has come by then: to nobody."""
    for life in (Life().ready().signal(6), Life().ready().play(Abort("test"))):
        last = life.machine.handle(TargetExited(ExitStatus(0, 6)), life.now + 1000)[-1]
        assert isinstance(last, Exit)


def test_its_end_is_not_taken_for_an_illness():
    """A probe may be refused a moment before we hear that the target has exited."""
    last = Life().ready().rounds(FAIL).exit(3).told("STATUS")[-1]
    assert last == "the target exited with status 3"


def test_a_clean_stop_ends_with_nothing_to_explain():
    """What is told where nothing was wrong hides what is told where something was."""
    last = Life().ready().rounds(PASS).signal(TERM).exit(signum=TERM).told("STATUS")[-1]
    assert last == "the target was killed by TERM"


def test_a_mapped_stop_signal_is_told_as_what_it_became():
    """A status that names a signal which nobody got sends its reader the wrong way."""
    life = Life(signal_map={TERM: QUIT}).ready().signal(TERM)
    assert life.told("STATUS")[-1] == "stopping: TERM passed on to the target as QUIT"
    life = Life(signal_map={TERM: 0}).ready().signal(TERM)
    assert life.told("STATUS")[-1] == "stopping: TERM came, and is not passed on (--map-signal)"
