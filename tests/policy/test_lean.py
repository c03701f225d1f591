"""Our NamedTuple and Enum behave as the standard library's do, where we use them."""

from __future__ import annotations

import copy
import enum
import pickle
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifywrap import lean
from notifywrap.policy.events import Level, Outcome, Sample
from notifywrap.policy.exits import ExitStatus
from notifywrap.policy.probe import AliveProbe
from notifywrap.policy.spec import Spec


class Theirs(typing.NamedTuple):
    """The model."""

    x: int
    y: str = "why"
    z: tuple[int, ...] = ()

    @property
    def double(self) -> int:
        return self.x * 2

    def plus(self, more: int) -> int:
        return self.x + more


class Ours(lean.NamedTuple):
    """The model."""

    x: int
    y: str = "why"
    z: tuple[int, ...] = ()

    @property
    def double(self) -> int:
        return self.x * 2

    def plus(self, more: int) -> int:
        return self.x + more


class TheirColour(enum.Enum):
    RED = "red"
    BLUE = 2


class OurColour(lean.Enum):
    RED = "red"
    BLUE = 2


arguments = st.tuples(
    st.lists(st.integers() | st.text(), max_size=4),
    st.dictionaries(st.sampled_from(["x", "y", "z", "other"]), st.integers(), max_size=3),
)


@given(arguments)
def test_a_record_takes_what_the_models_takes(call: tuple[list[object], dict[str, int]]):
    """Too few, too many, unknown or double: a mistake must not make a value."""
    values, named = call
    try:
        theirs = Theirs(*values, **named)  # type: ignore[arg-type]
    except TypeError:
        with pytest.raises(TypeError):
            Ours(*values, **named)  # type: ignore[arg-type]
    else:
        ours = Ours(*values, **named)  # type: ignore[arg-type]
        assert tuple(ours) == tuple(theirs)
        assert ours._asdict() == theirs._asdict()
        assert repr(ours).removeprefix("Ours") == repr(theirs).removeprefix("Theirs")
        assert hash(ours) == hash(theirs)
        assert (ours.x, ours.y, ours.z) == (theirs.x, theirs.y, theirs.z)


def test_a_record_has_its_methods_and_its_fields():
    """Properties, methods, defaults and _fields work as anywhere."""
    ours = Ours(3)
    assert (ours.double, ours.plus(4), ours.y, ours.z) == (6, 7, "why", ())
    assert Ours._fields == Theirs._fields
    assert Ours.__doc__ == Theirs.__doc__
    assert isinstance(ours, tuple)
    assert ours == (3, "why", ())
    assert ours < Ours(4)
    x, y, _ = ours
    assert (x, y) == (3, "why")


@pytest.mark.parametrize("name", ["x", "other"])
def test_a_record_cannot_be_changed(name: str):
    """What everyone reads is changed by no one."""
    for record in (Ours(1), Theirs(1)):
        with pytest.raises(AttributeError):
            setattr(record, name, 5)


def test_a_record_is_replaced_field_by_field():
    """How tests and options vary a Spec."""
    assert Ours(1)._replace(y="b") == (1, "b", ())
    assert type(Ours(1)._replace(x=2)) is Ours
    for record in (Ours(1), Theirs(1)):
        with pytest.raises((TypeError, ValueError)):
            record._replace(other=1)


def test_a_record_is_matched_by_place_and_by_name():
    """`match` is how actions and samples are told apart."""
    match Ours(1, "b"):
        case Ours(x, y=word):
            assert (x, word) == (1, "b")
        case _:
            pytest.fail("no match")


@given(st.builds(Sample, st.sampled_from(list(Outcome)), st.text(), st.text(), st.booleans()))
def test_records_of_ours_survive_a_copy_and_pickle(sample: Sample):
    """Discovery runs in a child and hands its Sample over."""
    assert pickle.loads(pickle.dumps(ExitStatus(3, 4))) == ExitStatus(3, 4)
    assert copy.copy(sample) == sample
    assert sample._replace(reason="r").reason == "r"


def test_two_records_of_equal_fields_are_told_apart_by_type():
    """They compare as tuples, so code that cares asks for the type: as with the model."""
    assert AliveProbe() == ("alive",)
    assert type(AliveProbe()) is not type(("alive",))


def test_a_default_is_shared_and_never_changed():
    """Spec has a mapping as a default."""
    one, other = Spec(("a",), (), ()), Spec(("b",), (), ())
    assert one.signal_names is other.signal_names == {}


def test_an_enum_has_its_members_and_nothing_else():
    """Names, values, identity, iteration and length."""
    for colour in (TheirColour, OurColour):
        assert [member.name for member in colour] == ["RED", "BLUE"]
        assert [member.value for member in colour] == ["red", 2]
        assert len(colour) == 2
        assert bool(colour)
        assert isinstance(colour.RED, colour)
        assert colour.RED is colour.RED
        assert colour.RED != colour.BLUE
        assert colour.RED in {colour.RED: 1}
        assert str(colour.RED).endswith("Colour.RED")
        assert "RED" in repr(colour.RED)


def test_enums_of_ours_have_one_member_a_value():
    """A value that appears twice would be an alias in the standard library, and a trap here."""
    for kind in (Outcome, Level):
        values = [member.value for member in kind]
        assert len(set(values)) == len(values)
    assert {level.value for level in Level} == {3, 4, 5, 6, 7}, "syslog's, for <N>"


def test_signal_and_socket_are_the_real_modules_lower_halves():
    """The numbers must be the kernel's, whoever names them."""
    import signal
    import socket

    for name in ("SIGTERM", "SIGKILL", "SIGRTMIN", "SIGRTMAX", "SIG_BLOCK", "SIG_SETMASK"):
        assert int(getattr(lean.signal, name)) == int(getattr(signal, name))
    for name in ("AF_UNIX", "AF_INET", "AF_INET6", "SOCK_DGRAM", "MSG_NOSIGNAL", "MSG_DONTWAIT"):
        assert int(getattr(lean.socket, name)) == int(getattr(socket, name))
