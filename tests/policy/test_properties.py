"""The machine's contracts: what holds for every history, with hypothesis in virtual time."""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from life import ABRT, BROKEN, FAIL, HUP, LATE, PASS, TCP, TERM, Life

from notifywrap.policy.events import (
    Abort,
    Discard,
    Exit,
    Followed,
    Forward,
    Notify,
    ReloadAsked,
    Sampled,
    TargetNotified,
    Timer,
)
from notifywrap.policy.probe import AliveProbe, DiscoverProbe, Hint, NotifyProbe
from notifywrap.policy.signalling import ABORT_LATER_S
from notifywrap.policy.spec import Spec, TargetNotify
from notifywrap.policy.state import STOPPABLE, State

HTTP = TCP._replace(text="http")
SPECS = [
    Spec(("t",), (TCP,), (TCP,), watchdog_s=4.0, period_s=1.0, timeout_s=1.0, reload_timeout_s=7.0),
    Spec(("t",), (TCP,), (), watchdog_s=0.1, period_s=0.025, timeout_s=0.025),
    Spec(("t",), (TCP, TCP._replace(text="other")), (TCP,), watchdog_s=None),
    Spec(("t",), (DiscoverProbe(),), (), watchdog_s=4.0, period_s=1.0, timeout_s=1.0),
    Spec(("t",), (DiscoverProbe(hints=(Hint(80, "", HTTP, HTTP),)),), (), watchdog_s=4.0,
         period_s=1.0, timeout_s=1.0),
    Spec(("t",), (TCP,), (TCP,), watchdog_s=4.0, period_s=1.0, timeout_s=1.0,
         target_notify=TargetNotify.REQUIRE, fail_after=2),
    Spec(("t",), (NotifyProbe(),), (NotifyProbe(),), watchdog_s=4.0, period_s=1.0, timeout_s=1.0),
    Spec(("t",), (TCP,), (TCP,), watchdog_s=4.0, period_s=1.0, timeout_s=1.0, stable_for_s=2.0,
         start_timeout_s=20.0, signal_map={10: 0, 12: 34, TERM: 3}),
    Spec(("t",), (TCP,), (TCP,), watchdog_s=4.0, period_s=1.0, timeout_s=1.0,
         reload_command=("c",), start_timeout_s=15.0),
    Spec(("t",), (TCP,), (TCP,), watchdog_s=4.0, period_s=1.0, timeout_s=1.0, pidfile="/p"),
]  # fmt: skip
LINES = [
    ("READY", "1"), ("RELOADING", "1"), ("STOPPING", "1"), ("WATCHDOG", "1"), ("STATUS", "busy"),
    ("WATCHDOG", "trigger"), ("ERRNO", "2"), ("ERRNO", "x"), ("MAINPID", "1"), ("FDSTORE", "1"),
    ("FDNAME", "a"), ("BARRIER", "1"), ("EXTEND_TIMEOUT_USEC", "5000000"), ("WATCHDOG_USEC", "1"),
    ("FDSTOREREMOVE", "1"), ("NOTIFYACCESS", "all"), ("", ""),
]  # fmt: skip


class Lives(RuleBasedStateMachine):
    """Any order of samples, signals, timers, the target's own words, failures of ours, the end."""

    def __init__(self):
        super().__init__()
        self._begin(SPECS[0])

    @rule(spec=st.sampled_from(SPECS), is_ready=st.booleans(), pings=st.booleans())
    @precondition(lambda self: len(self.life.log) < 4)
    def begin(self, spec, is_ready, pings):
        """Half of the lives begin with a target that is ready: chance alone seldom gets there."""
        self._begin(spec)
        if is_ready:
            words = [("READY", "1")] + ([("WATCHDOG", "1")] if pings else [])
            self.target_says(words, 0, dying=False, after_s=0.0)
            while self.life.machine.state is State.STARTING:
                self.end_attempts(PASS._replace(found=(TCP,)), "", alive=True, after_s=0.3)

    def _begin(self, spec):
        self.life = Life(spec)
        self.signalled = []
        self.aborted_at = []
        self.round = []  # how the attempts of the live round in flight ended
        self.evidence_at = self.life.now  # when a round has passed, or the first READY=1 was said
        self.own_unspent = False  # has the target pinged since our last ping?
        self.own_counts = spec.target_notify is TargetNotify.REQUIRE or NotifyProbe() in spec.live
        self.asked = 0
        self.fds = 0

    def play(self, event, after_s=0.0):
        """*event*; every ping that comes of it spends the target's."""
        before = len(self.life.pings())
        self.life.play(event, after_s)
        if len(self.life.pings()) > before:
            self.own_unspent = False

    @rule(after_s=st.floats(0, 12))
    def pass_time(self, after_s):
        self.play(Timer(), after_s)
        due = self.life.machine.next_deadline()
        assert due is None or due > self.life.now, "after a timer no deadline is left in the past"

    @rule(
        sample=st.sampled_from([PASS, PASS, FAIL, LATE, BROKEN, PASS._replace(found=(TCP,))]),
        excuse=st.sampled_from(["", "starved"]),
        alive=st.booleans(),
        after_s=st.sampled_from([0.0, 0.001, 0.3]),
    )
    def end_attempts(self, sample, excuse, alive, after_s):
        life = self.life
        self.play(Timer(), after_s)
        for attempt, probe in list(life.open.items()):
            if attempt not in life.open:
                continue
            own = (PASS if alive else FAIL) if isinstance(probe, AliveProbe) else sample
            in_round = set(life.machine.health.in_flight)
            before, was_unspent = len(life.pings()), self.own_unspent
            del life.open[attempt]
            if attempt in in_round:
                self.round.append((own.outcome, excuse))
            self.play(Sampled(attempt, own, excuse))
            # Not "nothing is in flight": the next round may have begun at the same moment.
            if attempt in in_round and not in_round & set(life.machine.health.in_flight):
                if len(life.pings()) > before:
                    self.check_evidence(was_unspent)
                if all(outcome is PASS.outcome for outcome, _ in self.round):
                    self.evidence_at = life.now
                self.round = []
        # Not "no reload has ended": one that was asked for too early has, at once.
        keys = life.told_keys()
        if keys[-2:] in (["READY"], ["READY", "WATCHDOG"]) and keys.count("READY") == 1:
            self.evidence_at = life.now

    def check_evidence(self, own_unspent):
        """A ping has followed this round: all of it passed and the target's own ping has come
        where that counts, or time-outs are excused and young."""
        undecided = [outcome for outcome, _ in self.round if outcome is not PASS.outcome]
        if not undecided:
            assert own_unspent or not self.own_counts
            return
        assert all(outcome is LATE.outcome and why for outcome, why in self.round
                   if outcome is not PASS.outcome), self.round  # fmt: skip
        assert self.life.now - self.evidence_at < self.life.spec.watchdog_s

    @rule(
        lines=st.lists(st.sampled_from(LINES), min_size=1, max_size=4),
        fds=st.integers(0, 2),
        dying=st.sampled_from([False, False, False, True]),
        after_s=st.sampled_from([0.0, 0.01, 0.7, 3.0]),
    )
    def target_says(self, lines, fds, dying, after_s):
        life, watchdog_s = self.life, self.life.spec.watchdog_s
        self.play(Timer(), after_s)
        before, state, count = len(life.log), life.machine.state, len(life.pings())
        numbers = tuple(range(self.fds, self.fds + fds)) if state is not State.ENDED else ()
        self.fds += len(numbers)
        if dict(reversed(lines)).get("WATCHDOG") == "1" and not dying and watchdog_s is not None:
            self.own_unspent = self.own_counts = True
        has_pinged = self.own_unspent
        self.play(TargetNotified(tuple(lines), numbers, dying))
        told = [k for _, a in life.log[before:] if isinstance(a, Notify) for k, _ in a.assignments]
        assert state is not State.ACTIVE or "EXTEND_TIMEOUT_USEC" not in told
        if dying:
            assert not {"READY", "RELOADING", "STOPPING", "WATCHDOG"} & set(told)
        if len(life.pings()) > count and "READY" not in told:
            # The target's ping goes on at once only where a round has just passed.
            assert has_pinged
            assert life.machine.health.verdict.value in ("healthy", "unknown")
            fresh_s = life.spec.period_s + life.spec.timeout_s
            assert life.now - life.machine.health.passed_at <= fresh_s + 1e-9

    @rule(signum=st.sampled_from([1, 2, 3, 6, 10, 12, 15, 20, 34]), handled=st.booleans())
    def signal(self, signum, handled):
        life = self.life
        sent = 0 if signum == HUP and life.spec.reload_command else life.spec.sent_for(signum)
        is_alive = life.machine.state is not State.ENDED
        if signum == ABRT:
            self.aborted_at += [life.now] if is_alive else []
        elif is_alive and (handled or signum != HUP) and sent:
            self.signalled.append(sent)
        life.signal(signum, handled)

    @rule(handled=st.booleans())
    def ask_for_reload(self, handled):
        if self.life.machine.state is not State.ENDED:
            self.asked = len(self.life.reloads()) + 1
            if self.life.machine.state in (State.ACTIVE, State.RELOADING):
                is_sent = handled and not self.life.spec.reload_command
                self.signalled += [HUP] if is_sent else []
        self.play(ReloadAsked(handled))

    @rule(code=st.integers(0, 255), chance=st.integers(0, 9), heirs=st.booleans())
    def exit(self, code, chance, heirs):
        if chance == 0:
            self.life.exit(code, heirs=heirs)

    @rule(pid=st.integers(2, 9))
    def follow(self, pid):
        self.play(Followed(pid))

    @rule(chance=st.integers(0, 9))
    def abort(self, chance):
        if chance == 0:
            self.play(Abort("test"))

    @invariant()
    def ready_once_per_activation_and_reload(self):
        keys = self.life.told_keys()
        assert keys.count("READY") <= 1 + keys.count("RELOADING")
        assert keys.count("READY") <= 1 or "RELOADING" in keys

    @invariant()
    def nothing_is_pinged_before_ready_or_after_stopping(self):
        told = [a.assignments for _, a in self.life.log if isinstance(a, Notify)]
        pairs = [pair for assignments in told for pair in assignments]
        if ("WATCHDOG", "1") in pairs:
            assert ("READY", "1") in pairs[: pairs.index(("WATCHDOG", "1"))]
        if ("STOPPING", "1") in pairs:
            assert pairs.count(("STOPPING", "1")) == 1
            after = pairs[pairs.index(("STOPPING", "1")) :]
            assert not {("READY", "1"), ("RELOADING", "1"), ("WATCHDOG", "1")} & set(after)

    @invariant()
    def exit_is_once_and_last(self):
        kinds = [type(action) for _, action in self.life.log]
        assert Exit not in kinds[:-1]

    @invariant()
    def forwarded_signals_are_never_swallowed(self):
        if not self.life.spec.pidfile:  # there they may wait for a successor who never comes
            sent = iter(self.life.forwarded())
            assert all(any(signum == other for other in sent) for signum in self.signalled)

    @invariant()
    def an_abort_is_passed_on_soon(self):
        """Not at once: the target may have got its own, and be at its stack trace."""
        life = self.life
        for at in self.aborted_at if not life.spec.pidfile else []:
            passed = [when for when, action in life.log if action == Forward(ABRT) and when >= at]
            is_over = life.machine.state is State.ENDED or life.now < at + ABORT_LATER_S
            assert passed or is_over

    @invariant()
    def nobody_is_pinged_who_does_not_wait_for_it(self):
        if self.life.spec.watchdog_s is None:
            assert self.life.pings() == []

    @invariant()
    def every_descriptor_of_the_target_goes_to_one_place(self):
        actions = [action for _, action in self.life.log]
        gone = [fd for a in actions if isinstance(a, Notify | Discard) for fd in a.fds]
        assert sorted(gone) == list(range(self.fds))

    @invariant()
    def nothing_that_is_the_units_to_decide_is_relayed(self):
        forbidden = {"MAINPID", "WATCHDOG_USEC", "NOTIFYACCESS", ""}
        assert not forbidden & set(self.life.told_keys())
        assert "x" not in self.life.told("ERRNO")

    @invariant()
    def start_timeout_is_kept(self):
        life = self.life
        limit_s = life.spec.start_timeout_s
        if limit_s is not None and life.machine.state is State.STARTING:
            assert life.now < life.machine.started + limit_s

    @invariant()
    def status_is_not_sent_more_than_once_a_second_but_with_a_change_of_state(self):
        alone = [
            now
            for now, action in self.life.log
            if isinstance(action, Notify) and [k for k, _ in action.assignments] == ["STATUS"]
        ]
        if self.life.machine.state is State.ENDED:
            alone = alone[:-1]  # the last word is always said
        assert all(b - a >= 1.0 - 1e-9 for a, b in itertools.pairwise(alone))

    def teardown(self):
        """Whatever happened, a reload ends in READY=1, whoever asked for one is answered, and a
        stop ends in the target's end."""
        life = self.life
        if life.machine.state is State.RELOADING:
            life.wait(life.spec.reload_timeout_s)
            assert life.machine.state in (State.ACTIVE, State.ENDED)
            keys = [key for key in life.told_keys() if key in ("READY", "RELOADING")]
            assert keys[-1] == "READY" or life.machine.state is State.ENDED
        assert len(life.reloads()) >= self.asked or life.machine.state is State.ENDED
        if life.machine.state is not State.ENDED:
            was_stoppable = life.machine.state in STOPPABLE and life.machine.succession is None
            life.signal(TERM)
            if was_stoppable:
                assert Forward(life.spec.sent_for(TERM)) in [action for _, action in life.log]
            life.exit(0)
        assert len(life.exits()) == 1
        assert life.machine.handle(Timer(), life.now + 1) == []


Lives.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLives = Lives.TestCase
