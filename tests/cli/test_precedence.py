"""Where a setting comes from: command line, environment, file, preset, default, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.cli import presets
from notifywrap.cli.config import make_spec
from notifywrap.cli.options import OPTIONS, PROBES, parse_arguments
from notifywrap.cli.settings import settle, variable_of
from notifywrap.errors import SpecError
from notifywrap.policy.events import Level
from notifywrap.policy.jailspec import Jail
from notifywrap.policy.probe import DiscoverProbe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from notifywrap.cli.options import Arguments

# They say where settings come from, so that they cannot come from everywhere themselves.
SOURCES = ("--config", "--preset")


class Places:
    """A command line, an environment, a --config file and a preset named "known"."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.words: list[str] = []
        self.env: dict[str, str] = {}
        self.file = home / "service.toml"
        self.preset = home / "known.conf"
        self.preset.touch()
        monkeypatch.setattr(presets, "DIRECTORY", str(home))

    def set(self, place: str, option: str, *values: str) -> None:
        """Give *option* these values in one place."""
        if place == "command line":
            self.words += [f"{option}={value}" for value in values]
        elif place == "environment":
            self.env[variable_of(option)] = "\n".join(values)
        elif place == "file":
            if OPTIONS[option].takes_value:
                text = ", ".join(f'"{value}"' for value in values)
                text = f"[{text}]" if OPTIONS[option].is_repeatable else text
            else:
                text = "true" if values == ("yes",) else "false"
            before = self.file.read_text() if self.file.exists() else ""
            self.file.write_text(f"{before}{option[2:]} = {text}\n")
        else:
            lines = "".join(f"{option} {value}\n" for value in values)
            self.preset.write_text(self.preset.read_text() + lines)

    def settle(self, *words: str, command: str = "known") -> Arguments:
        config = ["--config", str(self.file)] if self.file.exists() else []
        argv = [*self.words, *words, *config, "--", f"/opt/{command}", "-x"]
        return settle(parse_arguments(argv, OPTIONS), self.env)[0]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    return Places(tmp_path, monkeypatch)


PLACES = ("command line", "environment", "file", "preset")


def values_of(option: str, place: str) -> Sequence[str]:
    """Other ones in each place; two, where an option may be given more than once."""
    number = PLACES.index(place)
    if not OPTIONS[option].takes_value:
        return ["yes" if number % 2 else "no"]
    one = f"/{number}" if option.startswith("--tls-") or option == "--pidfile" else f"{number + 1}"
    return [one, f"{one}0"] if OPTIONS[option].is_repeatable else [one]


@pytest.mark.parametrize("option", [option for option in OPTIONS if option not in SOURCES])
def test_the_first_place_that_has_an_option_decides(places: Places, option: str) -> None:
    """A drop-in tunes a unit with the environment; a list replaces, it does not append."""
    for place in reversed(PLACES):
        places.set(place, option, *values_of(option, place))
        settled = places.settle("--preset", "known")
        assert settled.values[option] == values_of(option, place)
        label = settled.label(option)
        assert (
            label
            == {
                "command line": option,
                "environment": variable_of(option),
                "file": f"{places.file}: {option[2:]}",
                "preset": f"preset known: {option}",
            }[place]
        ), "what an error would call it"


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if option not in (*SOURCES, "--jail")]
)
def test_an_empty_variable_undoes_what_stands_below(places: Places, option: str) -> None:
    """As an empty assignment in a unit does."""
    for place in ("file", "preset"):
        places.set(place, option, *values_of(option, place))
    places.env[variable_of(option)] = ""
    assert option not in places.settle("--preset", "known").values


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("option", PROBES)
def test_whoever_names_a_probe_speaks_for_all_three_probe_options(
    places: Places, place: str, option: str
) -> None:
    """NOTIFYWRAP_READY= in a drop-in must not leave the unit's other probes in force beside it."""
    places.set(place, option, "tcp:1")
    for lower in PLACES[PLACES.index(place) + 1 :]:
        for other in PROBES:
            places.set(lower, other, "tcp:2")
    settled = places.settle("--preset", "known")
    assert {each: settled.values.get(each) for each in PROBES if each in settled.values} == {
        option: ["tcp:1"]
    }


@pytest.mark.parametrize("place", PLACES)
def test_the_rules_of_a_jail_can_be_written_in_every_place(places: Places, place: str) -> None:
    """One a line in a drop-in, a list in a file; and whichever place is first has all of them."""
    for lower in PLACES[PLACES.index(place) + 1 :]:
        places.set(lower, "--jail", "yes")
    if place == "file":
        places.file.write_text('jail = ["exec,nofork", "bind=80"]\n')
    else:
        places.set(place, "--jail", "exec,nofork", "bind=80")
    jail = make_spec(places.settle("--preset", "known"), None).jail
    assert jail is not None
    assert (jail.rules, jail.ports) == ({"exec", "nofork", "bind"}, (("bind", 80),))
    if place != "command line":
        assert make_spec(places.settle("--preset=known", "--jail=no"), None).jail is None


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_an_empty_variable_is_no_way_out_of_a_jail(places: Places, value: str) -> None:
    """A variable of a drop-in that is not filled in would turn off what --config asks for."""
    places.set("file", "--jail", "yes")
    places.env["NOTIFYWRAP_JAIL"] = value
    with pytest.raises(SpecError, match=r"^NOTIFYWRAP_JAIL: .*write \"no\" to turn it off"):
        places.settle()
    assert make_spec(places.settle("--jail=exec"), None).jail == Jail(frozenset(["exec"]))
    places.env["NOTIFYWRAP_JAIL"] = "no"
    assert make_spec(places.settle(), None).jail is None


def test_an_empty_list_is_no_way_out_of_a_jail_either(places: Places) -> None:
    """The file is where a preset's would be turned off, in a word."""
    places.set("preset", "--jail", "yes")
    places.file.write_text("jail = []\n")
    with pytest.raises(SpecError, match=r"jail: .*write \"no\" to turn it off"):
        places.settle("--preset", "known")


def test_an_empty_probe_variable_leaves_none_at_all(places: Places) -> None:
    """Not even a hint: back to what holds without any setting."""
    places.set("file", "--probe", "tcp:2")
    places.set("preset", "--probe", "http://127.0.0.1:3/")
    places.env["NOTIFYWRAP_LIVE"] = ""
    settled = places.settle()
    assert not set(settled.values) & set(PROBES)
    assert make_spec(settled, None).ready == (DiscoverProbe(),)


def test_where_the_file_and_the_preset_are_named(places: Places) -> None:
    """Each in the places above it."""
    places.file.write_text('preset = "other"\nperiod = "2s"\n')
    (places.file.parent / "other.conf").write_text("--timeout 7s\n")
    places.env["NOTIFYWRAP_CONFIG"] = str(places.file)
    argv = ["--", "/opt/known"]
    settled, _ = settle(parse_arguments(argv, OPTIONS), places.env)
    assert settled.values["--period"] == ["2s"]
    assert settled.values["--timeout"] == ["7s"]
    places.env["NOTIFYWRAP_PRESET"] = "none"
    settled, _ = settle(parse_arguments(argv, OPTIONS), places.env)
    assert "--timeout" not in settled.values
    places.env["NOTIFYWRAP_CONFIG"] = ""
    settled, _ = settle(parse_arguments(argv, OPTIONS), places.env)
    assert "--period" not in settled.values


def test_how_a_presets_probes_ask_is_not_about_mine(places: Places) -> None:
    """What passes for its page would pass for mine, which I know better."""
    places.set("preset", "--probe", "http://127.0.0.1:1/")
    places.set("preset", "--http-status", "200-599")

    def statuses(*words: str) -> object:
        (probe,) = make_spec(places.settle("--preset=known", *words), None).ready
        return probe.statuses  # type: ignore[union-attr]

    assert statuses() == ((200, 599),)
    assert statuses("--probe=http://127.0.0.1:2/") == ((200, 399),)
    assert statuses("--http-status=204") == ((204, 204),), "mine is about its probes"


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("command line", "--period: 'soon'"),
        ("environment", "NOTIFYWRAP_PERIOD: 'soon'"),
        ("file", "service.toml: period: 'soon'"),
    ],
)
def test_a_mistake_is_named_where_it_was_made(places: Places, place: str, named: str) -> None:
    """With four places to look in, "--period is wrong" would send people to the wrong one."""
    places.set(place, "--period", "soon")
    with pytest.raises(SpecError) as caught:
        make_spec(places.settle(), None)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("NOTIFYWRAP_PERID", "NOTIFYWRAP_PERIOD"),
        ("NOTIFYWRAP_stop_signal", "NOTIFYWRAP_STOP_SIGNAL"),
        ("NOTIFYWRAP_STOP-SIGNAL", "NOTIFYWRAP_STOP_SIGNAL"),
        ("NOTIFYWRAP_", ""),
        ("NOTIFYWRAP_XYZZY", ""),
    ],
)
def test_a_variable_that_means_nothing_is_told_and_no_more(variable: str, meant: str) -> None:
    """It may be for another version of notifywrap: a typo must be seen, not end the service."""
    settled, remarks = settle(parse_arguments(["--", "x"], OPTIONS), {variable: "1", "PATH": "/"})
    assert settled.values == {}
    assert [level for level, _ in remarks] == [Level.NOTICE]
    assert remarks[0][1].startswith(f"{variable}: no such setting")
    assert (f"did you mean {meant}?" in remarks[0][1]) == bool(meant)
