"""The search: what it asks for, over all services that could be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from notifywrap.harden.judgement import Reason
from notifywrap.harden.model import Candidate, Pick, Setting, Tier
from notifywrap.harden.search import Search

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from notifywrap.harden.model import Trial

HARD, SOFT = Reason("it does not start"), Reason("it is slow", is_hard=False)
NAMES = [f"directive-{number}" for number in range(9)]

candidates = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(1, 3), st.booleans()),
    max_size=9,
    unique_by=lambda each: each[0],
).map(lambda drawn: [candidate(*each) for each in drawn])
# For each candidate the tiers that the service does not stand by themselves.
guilty = st.sets(st.tuples(st.sampled_from(NAMES), st.integers(0, 2)).map(lambda each: Pick(*each)))
pairs = st.sets(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda two: two[0] < two[1]),
    max_size=3,
)


def candidate(name: str, tiers: int = 1, is_risky: bool = False) -> Candidate:
    lines = [Tier((Setting(name, str(number)),)) for number in range(tiers)]
    return Candidate(name, "a reason", tuple(lines), is_risky)


def run(search: Search, judge: Callable[[Trial], Sequence[Reason]]) -> list[Trial]:
    """All trials to the end, each judged by *judge*."""
    trials = []
    while (trial := search.next()) is not None:
        trials.append(trial)
        search.tell(judge(trial))
    return trials


def stands(
    bad: set[Pick], conflicts: AbstractSet[tuple[str, str]] = frozenset()
) -> Callable[[Trial], Sequence[Reason]]:
    """A service that does not stand *bad*, nor two of a pair together."""

    def judge(trial: Trial) -> Sequence[Reason]:
        names = {pick.name for pick in trial.picks}
        is_bad = bad & set(trial.picks) or any(set(pair) <= names for pair in conflicts)
        return (HARD,) if is_bad else ()

    return judge


@given(candidates, guilty)
def test_each_candidate_ends_at_the_strongest_tier_that_the_service_stands(
    offered: list[Candidate], bad: set[Pick]
) -> None:
    """That is what it is for, however many are guilty."""
    search = Search(offered, max_rounds=10_000)
    run(search, stands(bad))
    for each in offered:
        good = [tier for tier in range(len(each.tiers)) if Pick(each.name, tier) not in bad]
        kept = [pick.tier for pick in search.kept if pick.name == each.name]
        assert kept == good[:1]
    assert not search.untried


@given(candidates, guilty, pairs, st.integers(1, 40))
def test_what_is_kept_has_passed_as_a_whole(
    offered: list[Candidate], bad: set[Pick], conflicts: set[tuple[str, str]], most: int
) -> None:
    """At every moment, so that ctrl-C may come at any."""
    search = Search(offered, max_rounds=most)
    judge = stands(bad, conflicts)
    passed: list[frozenset[Pick]] = [frozenset()]
    while (trial := search.next()) is not None:
        reasons = judge(trial)
        if not reasons:
            passed.append(frozenset(trial.picks))
        search.tell(reasons)
        assert frozenset(search.kept) in passed


@given(candidates, guilty, pairs)
def test_no_trial_is_asked_for_twice(
    offered: list[Candidate], bad: set[Pick], conflicts: set[tuple[str, str]]
) -> None:
    """A round takes seconds, and the same service gives the same answer."""
    trials = run(Search(offered, max_rounds=10_000), stands(bad, conflicts))
    asked = [frozenset(trial.picks) for trial in trials]
    assert len(asked) == len(set(asked))


@given(candidates, guilty, pairs)
def test_of_two_that_do_not_go_together_one_is_kept(
    offered: list[Candidate], bad: set[Pick], conflicts: set[tuple[str, str]]
) -> None:
    """Neither is bad by itself: to lose both would be a loss."""
    search = Search(offered, max_rounds=10_000)
    run(search, stands(bad, conflicts))
    kept = {pick.name for pick in search.kept}
    for each in offered:
        alone = any(Pick(each.name, tier) not in bad for tier in range(len(each.tiers)))
        others = {name for pair in conflicts if each.name in pair for name in pair} - {each.name}
        if alone and each.name not in kept:
            assert others & kept


@given(candidates, guilty, st.integers(1, 12))
def test_no_more_rounds_than_allowed_and_the_rest_is_named(
    offered: list[Candidate], bad: set[Pick], most: int
) -> None:
    """--max-rounds; a report that leaves out what was not tried would be read as 'rejected'."""
    search = Search(offered, max_rounds=most)
    assert len(run(search, stands(bad))) <= most
    told = {pick.name for pick in search.kept} | {each.pick.name for each in search.rejected}
    assert {each.name for each in offered} == told | set(search.untried)


@given(candidates, guilty, pairs)
def test_the_same_service_gives_the_same_result(
    offered: list[Candidate], bad: set[Pick], conflicts: set[tuple[str, str]]
) -> None:
    """What chance decides nobody can check."""
    results = []
    for _ in range(2):
        search = Search(offered, max_rounds=10_000)
        results.append((run(search, stands(bad, conflicts)), search.kept, search.rejected))
    assert results[0] == results[1]


def test_harmless_ones_that_pass_take_one_round() -> None:
    """Most services stand most of them: thirty rounds would be a minute."""
    search = Search([candidate(name) for name in NAMES], max_rounds=100)
    assert len(run(search, stands(set()))) == 1
    assert {pick.name for pick in search.kept} == set(NAMES)


def test_risky_ones_are_tried_alone() -> None:
    """They often fail, and would take the group with them."""
    offered = [candidate("a"), candidate("b", is_risky=True), candidate("c")]
    trials = run(Search(offered, max_rounds=100), stands(set()))
    assert [[pick.name for pick in trial.new] for trial in trials] == [["a", "c"], ["b"]]


def test_the_guard_holds_in_every_round() -> None:
    """It keeps the copy from real data; the baseline ran with it."""
    offered = [candidate("guard"), candidate("a"), candidate("b", is_risky=True)]
    search = Search(offered, max_rounds=100, guard=[Pick("guard")])
    trials = run(search, stands({Pick("a"), Pick("b")}))
    assert all(Pick("guard") in trial.kept for trial in trials)
    assert search.kept == (Pick("guard"),)


def test_a_reason_that_may_be_chance_counts_when_it_is_seen_twice() -> None:
    """A slow connection on a busy machine must not cost a directive."""
    search = Search([candidate("a"), candidate("b", is_risky=True)], max_rounds=100)
    answers = iter([(SOFT,), (), (SOFT,), (SOFT,)])
    trials = run(search, lambda _: next(answers))
    assert [trial.new[0].name for trial in trials] == ["a", "a", "b", "b"]
    assert search.kept == (Pick("a"),)
    assert [(each.pick, each.reasons) for each in search.rejected] == [(Pick("b"), ("it is slow",))]


def test_the_reasons_are_those_of_the_tier_alone() -> None:
    """A group fails for one of its members: the others must not be blamed."""
    offered = [candidate(name, tiers=2) for name in ("a", "b", "c", "d")]
    search = Search(offered, max_rounds=100)
    run(search, stands({Pick("c", 0)}))
    assert [each.pick for each in search.rejected] == [Pick("c", 0)]
    assert set(search.kept) == {Pick("a"), Pick("b"), Pick("c", 1), Pick("d")}


def test_what_is_slow_on_a_busy_machine_is_compared_with_what_is_kept() -> None:
    """Somebody else's build started in the meantime: no directive has slowed the service."""
    late = Reason("it was ready much later", is_hard=False, is_timed=True)
    search = Search([candidate("a"), candidate("b", is_risky=True)], max_rounds=100)
    #                   a    b     kept     b
    answers = iter([(), (late,), (late,), ()])
    trials = run(search, lambda _: next(answers))
    assert [[pick.name for pick in trial.new] for trial in trials] == [["a"], ["b"], [], ["b"]]
    assert search.kept == (Pick("a"), Pick("b"))
    assert not search.rejected


def test_what_slows_a_service_on_an_idle_machine_is_rejected() -> None:
    late = Reason("it was ready much later", is_hard=False, is_timed=True)
    search = Search([candidate("b", is_risky=True)], max_rounds=100)
    run(search, lambda trial: (late,) if trial.new else ())
    assert [each.pick for each in search.rejected] == [Pick("b")]
    assert search.rounds == 3


def test_a_machine_that_is_always_busy_does_not_keep_the_search_from_its_end() -> None:
    """It can tell nothing of time; what was slow is left out then."""
    late = Reason("it was ready much later", is_hard=False, is_timed=True)
    search = Search([candidate("a"), candidate("b"), candidate("c", is_risky=True)], max_rounds=999)
    run(search, lambda _: (late,))
    assert search.rounds < 100
    assert {each.pick.name for each in search.rejected} == {"a", "b", "c"}


def test_groups_follow_in_their_order_and_halve_by_themselves() -> None:
    """The rules of a jail are one group: one that does not fit costs no other."""
    rules = [candidate(name)._replace(group="jail") for name in ("exec", "nofork")]
    search = Search([*rules, candidate("a"), candidate("b", is_risky=True)], max_rounds=100)
    trials = run(search, stands({Pick("nofork")}))
    names = [[pick.name for pick in trial.new] for trial in trials]
    assert names[:2] == [["a"], ["exec", "nofork"]]
    assert set(search.kept) == {Pick("a"), Pick("b"), Pick("exec")}
