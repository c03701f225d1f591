"""When a time-out is the machine's fault, or a debugger's: from numbers alone."""

from hypothesis import given
from hypothesis import strategies as st

from notifywrap.policy.starvation import Hindrance, find_excuse

STALLED = Hindrance(stalls=(("this service", "a CPU", 0.02), ("this service", "memory", 0.3)))


def test_a_machine_that_did_nothing_wrong_excuses_nothing():
    """A hang on an idle machine is a hang."""
    assert find_excuse(1.0, Hindrance()) == ""


def test_a_quarter_of_the_time_is_enough_and_less_is_not():
    """Some delay is there always: three quarters of the time should be plenty for an answer."""
    for delay in ("late_s", "waited_s"):
        assert find_excuse(1.0, Hindrance()._replace(**{delay: 0.25})), delay
        assert find_excuse(1.0, Hindrance()._replace(**{delay: 0.24})) == "", delay
    assert find_excuse(1.0, STALLED)
    assert find_excuse(1.3, STALLED) == ""


def test_an_excuse_names_what_was_waited_for_and_for_how_long():
    """STATUS must tell the admin where to look: another CPU does not help a machine that swaps."""
    assert "this service waited 0.3 s for memory" in find_excuse(1.0, STALLED)
    assert "woke up 0.5 s late" in find_excuse(1.0, Hindrance(late_s=0.5))
    assert "notifywrap itself waited 0.5 s for a CPU" in find_excuse(1.0, Hindrance(waited_s=0.5))


def test_a_short_sleep_of_the_machine_excuses_a_long_attempt():
    """After a resume disks and networks take longer to come back than the sleep took."""
    assert "asleep for 0.5 s" in find_excuse(5.0, Hindrance(suspended_s=0.5))
    assert find_excuse(5.0, Hindrance(suspended_s=0.001)) == ""  # two clocks, read one by one


def test_a_tracer_is_named_first():
    """It is certain, and the admin who has forgotten a gdb somewhere can act on it."""
    excuse = find_excuse(1.0, STALLED._replace(tracer="gdb (pid 12)", late_s=0.9))
    assert excuse == "it is being traced by gdb (pid 12)"


def test_an_attempt_that_took_no_time_is_not_excused_by_no_delay():
    """A quarter of nothing is nothing: the target that a debugger holds is seen at once."""
    assert find_excuse(0.0, Hindrance()) == ""


@given(lasted_s=st.floats(0, 100), delay_s=st.floats(-1, 100))
def test_whatever_is_an_excuse_stays_one_when_it_lasts_longer(lasted_s, delay_s):
    """More of the same hindrance never makes a time-out count for more."""
    for less in (Hindrance(late_s=delay_s), Hindrance(stalls=(("it", "I/O", delay_s),))):
        more = Hindrance(less.late_s + 1, stalls=tuple((a, b, c + 1) for a, b, c in less.stalls))
        assert not find_excuse(lasted_s, less) or find_excuse(lasted_s, more)
