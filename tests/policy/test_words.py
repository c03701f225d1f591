"""The target's own sd_notify messages: what counts, what is passed on, and what changes nothing."""

import pytest
from life import FAIL, LATE, PASS, TCP, TERM, Life

from notifywrap.policy.events import Discard, Notify
from notifywrap.policy.probe import AliveProbe, DiscoverProbe, NotifyProbe
from notifywrap.policy.spec import Spec, TargetNotify
from notifywrap.policy.state import State


def require(**changes: object) -> Life:
    return Life(target_notify=TargetNotify.REQUIRE, **changes)


def guessing() -> Life:
    return Life(Spec(("t",), (DiscoverProbe(),), (), watchdog_s=4.0, period_s=1.0, timeout_s=1.0))


def test_own_ready_does_not_do_without_the_probes():
    """Traefik says READY=1 a quarter of a second before its routes serve."""
    life = Life().says("READY=1").sample(FAIL)
    assert "READY" not in life.told_keys()
    assert "READY" in life.sample(PASS, 0.1).told_keys()


def test_auto_does_not_wait_for_a_word_that_may_never_come():
    """Most daemons cannot speak; nothing tells beforehand which can."""
    assert "READY" in Life().ready().told_keys()


def test_require_waits_for_the_word_and_says_so():
    """STATUS names what is missing when the probes have long passed."""
    life = require().sample(PASS)
    assert "READY" not in life.wait(1.0).told_keys()
    assert "notify: it has not said READY=1" in life.told("STATUS")[-1]
    assert "READY" in life.says("READY=1").told_keys()


NOTHING = PASS._replace(found=())
SOCKET = PASS._replace(found=(TCP,))


def test_zero_config_goes_by_the_own_word_of_a_target_that_does_not_listen():
    """A daemon that says when it is ready knows better than a guess."""
    life = guessing().says("READY=1").sample(NOTHING, 0.01)
    assert "READY" not in life.told_keys()
    assert "READY" in life.sample(NOTHING, 0.25).told_keys()


def test_zero_config_does_not_believe_a_word_that_comes_before_the_sockets():
    """Traefik says READY=1 a moment before it listens: its first client would be refused."""
    life = guessing().says("READY=1").sample(NOTHING, 0.01).sample(SOCKET, 0.1)
    for _ in range(3):
        life.sample(SOCKET, 0.05)
    assert "READY" not in life.told_keys()
    for _ in range(4):
        life.sample(SOCKET, 0.05)
    assert "READY" in life.told_keys()
    assert [probe.text for probe in life.machine.health.probes] == ["alive", TCP.text]


def test_sockets_are_looked_for_after_the_own_word_as_well():
    """With nothing to ask, a hang would go unseen."""
    life = guessing().says("READY=1").sample(NOTHING, 0.3)
    assert "READY" in life.told_keys()
    for _ in range(20):
        life.sample(SOCKET, 0.1)
    assert [probe.text for probe in life.machine.health.probes] == ["alive", TCP.text]


def test_sockets_that_never_come_are_not_looked_for_for_ever():
    """A target without any must not cost wake-ups for the rest of its life."""
    life = guessing().says("READY=1")
    for _ in range(100):
        life.sample(NOTHING, 0.5)
    assert not life.machine.is_seeking
    assert {type(probe) for probe in life.open.values()} <= {AliveProbe}


def test_probe_notify_is_the_word_itself():
    """`--probe notify` is for daemons that speak well and serve nothing that could be probed."""
    life = Life(ready=(NotifyProbe(),), live=(NotifyProbe(),))
    assert life.open == {}
    assert "READY" in life.says("READY=1").told_keys()
    assert len(life.rounds(PASS, PASS).pings()) == 1, "no word, no ping"
    assert len(life.says("WATCHDOG=1").rounds(PASS).pings()) == 2


def test_own_pings_count_once_they_have_begun():
    """A daemon that pings knows of hangs that no port shows."""
    life = Life().ready().rounds(PASS)
    assert len(life.pings()) == 2, "before its first ping the probes are all there is"
    life.wait(0.6).says("WATCHDOG=1")
    before = len(life.pings())
    assert len(life.rounds(PASS, PASS, PASS).pings()) == before, "it has stopped pinging"
    assert "has not pinged for 4" in life.rounds(PASS).wait(1.0).told("STATUS")[-1]


def test_own_ping_goes_on_at_once_while_the_probes_pass():
    """A target may ping only just in time; waiting for a round would make it late."""
    life = Life().ready().says("WATCHDOG=1").rounds(PASS).wait(0.7)
    life.says("WATCHDOG=1")
    assert life.pings()[-1] == life.now


def test_own_ping_is_withheld_while_a_probe_fails():
    """A pinging timer thread beside a dead port is the very thing that must not pass."""
    life = Life().ready().says("WATCHDOG=1").rounds(FAIL)
    before = len(life.pings())
    life.wait(0.3).says("WATCHDOG=1")
    assert len(life.pings()) == before
    assert len(life.rounds(PASS).pings()) == before + 1, "it counts as soon as they pass"


def test_starved_target_is_not_asked_for_its_own_ping():
    """It cannot run either; the grace is bounded anyway."""
    life = Life().ready().says("WATCHDOG=1").rounds(PASS)
    before = len(life.pings())
    assert len(life.rounds(LATE, excuse="starved").pings()) == before + 1


def test_thousand_pings_a_second_are_few_for_systemd():
    """Every datagram wakes PID 1."""
    life = Life().ready()
    for _ in range(1000):
        life.wait(0.001).says("WATCHDOG=1")
    assert len(life.pings()) <= 4


@pytest.mark.parametrize(
    "line", ["MAINPID=1", "WATCHDOG_USEC=1", "NOTIFYACCESS=all", "X_OTHER=1", "ERRNO=x", "ERRNO=-1"]
)
def test_what_is_not_the_targets_to_say_goes_no_further(line: str):
    """MAINPID would lock the wrapper out, WATCHDOG_USEC disarm what the unit promises."""
    before = Life().ready().told_keys()
    assert Life().ready().says(line).told_keys() == before


def test_status_and_errno_are_passed_on_even_as_last_words():
    """`systemctl status` should show what the daemon died of."""
    life = Life().ready().wait(1.0).says("STATUS=disk full", "ERRNO=28", dying=True).exit(1)
    assert life.told("ERRNO") == ["28"]
    assert life.told("STATUS")[-1].endswith("exited with status 1; its last status: disk full")


def test_status_of_the_target_stands_beside_ours():
    """Its users know it; ours says what it is watched by."""
    life = Life().ready().wait(1.0).says("STATUS=3 clients").wait(1.0)
    assert life.told("STATUS")[-1].endswith("watching tcp:80; the target says: 3 clients")


def test_last_words_cannot_make_a_dead_target_ready():
    """READY=1 in the queue of a process that has ended."""
    life = Life().says("READY=1", dying=True)
    assert "READY" not in life.told_keys()
    assert life.machine.words.is_ready is False


def test_stopping_of_the_target_is_ours():
    """Then nothing is gated any more: a daemon that drains may answer 503."""
    life = Life().ready().says("STOPPING=1").rounds(FAIL)
    assert life.told_keys()[-1] == "STOPPING"
    assert life.machine.state is State.STOPPING


def test_trigger_is_passed_on():
    """The target asks for its own watchdog's action: it must know."""
    assert Life().ready().says("WATCHDOG=trigger").told("WATCHDOG")[-1] == "trigger"


def test_more_time_is_asked_for_only_in_a_job():
    """EXTEND_TIMEOUT_USEC= also moves the watchdog's deadline of an active service."""
    wish = "EXTEND_TIMEOUT_USEC=5000000"
    assert Life().says(wish).told("EXTEND_TIMEOUT_USEC") == ["5000000"]
    assert Life().ready().says(wish).told("EXTEND_TIMEOUT_USEC") == []
    stopping = Life().ready().says("STOPPING=1").says(wish)
    assert stopping.told("EXTEND_TIMEOUT_USEC") == ["5000000"]


def test_own_reload_waits_for_its_own_ready():
    """The probes pass all the while: the old configuration still serves."""
    life = Life().ready().says("READY=1").says("RELOADING=1", "MONOTONIC_USEC=1")
    assert life.machine.state is State.RELOADING
    life.ready()
    assert life.machine.state is State.RELOADING
    assert life.says("READY=1").machine.state is State.ACTIVE
    assert [key for key in life.told_keys() if key != "WATCHDOG"] == ["READY", "RELOADING", "READY"]


def test_own_reload_of_a_guessed_target_does_not_lose_its_sockets():
    """Its READY=1 says nothing of what to watch: Caddy, frozen after a reload, went unnoticed."""
    life = guessing()
    while "READY" not in life.told_keys():
        life.sample(SOCKET, 0.05)
    life.says("RELOADING=1", "MONOTONIC_USEC=1").says("READY=1")
    assert life.machine.state is State.RELOADING
    for _ in range(20):
        life.sample(SOCKET, 0.05)
    assert life.reloads() == [""]
    assert [probe.text for probe in life.machine.health.probes] == ["alive", TCP.text]


def test_required_word_does_not_stand_for_the_sockets():
    """Without a probe both are needed: the word, and what it listens on."""
    life = Life(
        Spec(("t",), (DiscoverProbe(),), (), watchdog_s=4.0, period_s=1.0, timeout_s=1.0),
        target_notify=TargetNotify.REQUIRE,
    )
    life.sample(SOCKET, 0.01).says("READY=1").sample(SOCKET, 0.05)
    assert "READY" not in life.told_keys()
    for _ in range(20):
        life.sample(SOCKET, 0.05)
    assert "READY" in life.told_keys()
    assert [probe.text for probe in life.machine.health.probes] == ["alive", TCP.text]


def test_reload_and_ready_in_one_message_is_a_reload_that_is_over():
    """systemd allows it; the probes have to pass still."""
    life = Life().ready().says("RELOADING=1", "READY=1").ready()
    assert life.machine.state is State.ACTIVE
    assert life.told_keys().count("READY") == 2


def test_descriptors_are_stored_wait_as_a_barrier_or_are_closed():
    """One that went to two places would be closed twice, one that went nowhere would leak."""
    life = Life().ready()
    life.says("FDSTORE=1", "FDNAME=listener", "FDPOLL=0", fds=(10, 11))
    life.says("BARRIER=1", fds=(12,))
    life.says("BARRIER=1", "STATUS=x", fds=(13,))
    life.says("BARRIER=1", fds=(14, 15))
    life.says("STATUS=x", fds=(16,))
    sent = [a for _, a in life.log if isinstance(a, Notify) and a.fds]
    assert [(dict(a.assignments), a.fds) for a in sent] == [
        ({"FDSTORE": "1", "FDNAME": "listener", "FDPOLL": "0"}, (10, 11)),
        ({"BARRIER": "1"}, (12,)),
    ]
    assert [a.fds for _, a in life.log if isinstance(a, Discard)] == [(13,), (14, 15), (16,)]


def test_first_of_a_repeated_key_counts():
    """As for systemd: strv_find_startswith() finds the first."""
    assert Life().ready().says("ERRNO=1", "ERRNO=2").told("ERRNO") == ["1"]


def test_own_pings_do_nothing_without_a_watchdog():
    """Nobody waits for them."""
    life = Life(watchdog_s=None).ready().says("WATCHDOG=1").wait(5.0)
    assert life.pings() == []
    assert "pinged" not in life.told("STATUS")[-1]


def test_probe_and_own_word_together_for_a_target_with_both():
    """Real Traefik: READY, then pings every second half, and the probe."""
    life = require(ready=(TCP,), live=(TCP,)).says("READY=1").sample(PASS)
    for _ in range(6):
        life.wait(0.5).says("WATCHDOG=1").sample(PASS, 0.5)
    assert len(life.pings()) >= 6


def test_what_it_says_while_it_stops_is_passed_on():
    """A database that writes its memory to disk for a minute says how far it is."""
    life = Life().ready().signal(TERM).says("STATUS=3 of 7 shards saved").wait(1.0)
    wanted = "stopping: TERM passed on to the target; the target says: 3 of 7 shards saved"
    assert life.told("STATUS")[-1] == wanted
