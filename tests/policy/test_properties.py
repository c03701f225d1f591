"""The machine's contracts: what holds for every history, with hypothesis in virtual time."""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from life import BROKEN, FAIL, HUP, LATE, PASS, TCP, TERM, Life

from notifywrap.policy.events import Abort, Exit, Forward, Notify, Sampled, Timer
from notifywrap.policy.machine import State
from notifywrap.policy.spec import AliveProbe, DiscoverProbe, Spec

SPECS = [
    Spec(("t",), (TCP,), (TCP,), watchdog_s=4.0, period_s=1.0, timeout_s=1.0, reload_timeout_s=7.0),
    Spec(("t",), (TCP,), (), watchdog_s=0.1, period_s=0.025, timeout_s=0.025),
    Spec(("t",), (TCP, TCP._replace(text="other")), (TCP,), watchdog_s=None),
    Spec(("t",), (DiscoverProbe(),), (), watchdog_s=4.0, period_s=1.0, timeout_s=1.0),
]


class Lives(RuleBasedStateMachine):
    """Any order of samples, signals, timers, failures of ours, and the end."""

    def __init__(self):
        super().__init__()
        self.life = Life(SPECS[0])
        self.signalled = []
        self.round = []  # how the attempts of the live round in flight ended
        self.doubted_since = None

    @rule(spec=st.sampled_from(SPECS))
    @precondition(lambda self: len(self.life.log) < 4)
    def begin(self, spec):
        self.life = Life(spec)
        self.signalled, self.round, self.doubted_since = [], [], None

    @rule(after_s=st.floats(0, 12))
    def pass_time(self, after_s):
        self.life.wait(after_s)
        due = self.life.machine.next_deadline()
        assert due is None or due > self.life.now, "after a timer no deadline is left in the past"

    @rule(
        sample=st.sampled_from([PASS, FAIL, LATE, BROKEN, PASS._replace(found=(TCP,))]),
        excuse=st.sampled_from(["", "starved"]),
        alive=st.booleans(),
        after_s=st.sampled_from([0.0, 0.001, 0.3]),
    )
    def end_attempts(self, sample, excuse, alive, after_s):
        life = self.life
        life.wait(after_s)
        for attempt, probe in list(life.open.items()):
            if attempt not in life.open:
                continue
            own = (PASS if alive else FAIL) if isinstance(probe, AliveProbe) else sample
            in_round = set(life.machine.health.in_flight)
            before = len(life.pings())
            del life.open[attempt]
            if attempt in in_round:
                self.round.append((own.outcome, excuse))
            life.play(Sampled(attempt, own, excuse))
            # Not "nothing is in flight": the next round may have begun at the same moment.
            if attempt in in_round and not in_round & set(life.machine.health.in_flight):
                if len(life.pings()) > before:
                    self.check_evidence()
                self.round = []

    def check_evidence(self):
        """A ping has followed this round: all of it passed, or time-outs are excused and young."""
        undecided = [outcome for outcome, _ in self.round if outcome is not PASS.outcome]
        if not undecided:
            self.doubted_since = None
            return
        assert all(outcome is LATE.outcome and why for outcome, why in self.round
                   if outcome is not PASS.outcome), self.round  # fmt: skip
        if self.doubted_since is None:
            self.doubted_since = self.life.now
        assert self.life.now - self.doubted_since < self.life.spec.watchdog_s

    @rule(signum=st.sampled_from([1, 2, 3, 6, 10, 12, 15, 20, 34]), handled=st.booleans())
    def signal(self, signum, handled):
        if self.life.machine.state is not State.ENDED and (handled or signum != HUP):
            self.signalled.append(signum)
        self.life.signal(signum, handled)

    @rule(code=st.integers(0, 255), chance=st.integers(0, 9))
    def exit(self, code, chance):
        if chance == 0:
            self.life.exit(code)

    @rule(chance=st.integers(0, 9))
    def abort(self, chance):
        if chance == 0:
            self.life.play(Abort("test"))

    @invariant()
    def ready_once_per_activation_and_reload(self):
        keys = self.life.told_keys()
        assert keys.count("READY") <= 1 + keys.count("RELOADING")
        assert keys.count("READY") <= 1 or "RELOADING" in keys

    @invariant()
    def nothing_is_pinged_before_ready_or_after_stopping(self):
        keys = self.life.told_keys()
        if "WATCHDOG" in keys:
            assert "READY" in keys[: keys.index("WATCHDOG")]
        if "STOPPING" in keys:
            assert keys.count("STOPPING") == 1
            assert keys[-1] == "STOPPING"

    @invariant()
    def exit_is_once_and_last(self):
        kinds = [type(action) for _, action in self.life.log]
        assert Exit not in kinds[:-1]

    @invariant()
    def forwarded_signals_are_never_swallowed(self):
        sent = iter(self.life.forwarded())
        assert all(any(signum == other for other in sent) for signum in self.signalled)

    @invariant()
    def nobody_is_pinged_who_does_not_wait_for_it(self):
        if self.life.spec.watchdog_s is None:
            assert self.life.pings() == []

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
        """Whatever happened, a reload ends in READY=1 and a stop in the target's end."""
        life = self.life
        if life.machine.state is State.RELOADING:
            life.wait(life.spec.reload_timeout_s)
            assert life.machine.state is State.ACTIVE
            keys = [key for key in life.told_keys() if key != "WATCHDOG"]
            assert keys[-1] == "READY"
        if life.machine.state is not State.ENDED:
            life.signal(TERM)
            assert Forward(TERM) in [action for _, action in life.log]
            life.exit(0)
        assert len(life.exits()) == 1
        assert life.machine.handle(Timer(), life.now + 1) == []


Lives.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLives = Lives.TestCase
