"""Where settings come from: the command line, the environment, the file of --config, a preset. The
first that has one wins; a list replaces, it does not append."""

from __future__ import annotations

from notifywrap.cli.options import OPTIONS, PROBES, as_words, is_about_http, suggest
from notifywrap.cli.presets import find_preset, read_preset
from notifywrap.errors import SpecError
from notifywrap.lean import TYPE_CHECKING, NamedTuple
from notifywrap.policy.level import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

    from notifywrap.cli.options import Arguments

__all__ = ["PREFIX", "Layer", "settle", "variable_of"]

PREFIX = "NOTIFYWRAP_"
# Of a preset that nobody asked for: what cannot keep a service from starting or stopping as it
# always did. A reload is no part of either, and the wrapper sends none that would end the target.
_HARMLESS = ("--reload",)


class Layer(NamedTuple):
    """What one of these places has.

    values   option -> what it gives; an empty list: the option is not set, nor by lower layers
    labels   option -> what errors call it
    own      probe option -> settings for the one probe, by its place in `values`
    """

    values: Mapping[str, list[str]]
    labels: Mapping[str, str] = {}
    own: Mapping[str, list[dict[str, list[str]]]] = {}


def settle(
    arguments: Arguments, env: Mapping[str, str]
) -> tuple[Arguments, list[tuple[Level, str]]]:
    """All that is asked for, from everywhere, and what the user should be told about it.

    Raises SpecError for a --config or a --preset that cannot be had, and for an empty --jail.
    """
    from_env, remarks = read_environment(env)
    layers = [Layer(arguments.values), from_env]
    path = _first(layers, "--config")
    if path:
        from notifywrap.cli.tomlfile import read_config

        layers.append(Layer(*read_config(path)))
    name = _first(layers, "--preset")
    if name and name != "none":
        label = _merge(layers).labels["--preset"]
        layers.append(_layer_of(name, read_preset(name, label)))
    merged = _merge(layers)
    hints: dict[str, list[str]] = {}
    if name is None and arguments.command:
        name, values = find_preset(arguments.command[0])
        hints, chosen = _tone_down(values, merged.values)
        merged = _merge([merged, _layer_of(name, chosen)])
        if chosen or hints:
            used = " ".join(as_words(chosen) or ["hints", *as_words(hints)])
            text = f"preset {name}: {used} (--preset none turns it off)"
            remarks.append((Level.INFO if chosen else Level.DEBUG, text))
    if merged.values.get("--jail") == []:
        # Elsewhere it means "not set". A variable that was not filled in must not open a jail.
        raise SpecError(f'{merged.labels["--jail"]}: is empty: write "no" to turn it off')
    values = {option: given for option, given in merged.values.items() if given}
    settled = arguments._replace(values=values, labels=merged.labels, own=merged.own, hints=hints)
    return settled, remarks


def read_environment(env: Mapping[str, str]) -> tuple[Layer, list[tuple[Level, str]]]:
    """NOTIFYWRAP_PERIOD and so on; a repeatable option has one value a line."""
    values: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    remarks = []
    for variable in [name for name in env if name.startswith(PREFIX)]:
        option = "--" + variable.removeprefix(PREFIX).lower().replace("_", "-")
        if option not in OPTIONS or variable != variable_of(option):
            # Not fatal: it may be meant for another version, in a drop-in for many units.
            hint = suggest(option, OPTIONS)
            close = f" (did you mean {variable_of(hint)}?)" if hint else ""
            remarks.append((Level.NOTICE, f"{variable}: no such setting{close}, ignoring"))
            continue
        labels[option] = variable
        text = env[variable]
        if OPTIONS[option].is_repeatable:
            values[option] = [line.strip() for line in text.split("\n") if line.strip()]
        else:
            values[option] = [text] if text else []
    return Layer(values, labels), remarks


def variable_of(option: str) -> str:
    """The environment variable of an option."""
    return PREFIX + option.removeprefix("--").upper().replace("-", "_")


def _first(layers: list[Layer], option: str) -> str | None:
    """The value of an option in the first layer that has it; "" where it is unset there."""
    for layer in layers:
        if option in layer.values:
            return layer.values[option][0] if layer.values[option] else ""
    return None


def _layer_of(name: str, values: Mapping[str, list[str]]) -> Layer:
    return Layer(values, {option: f"preset {name}: {option}" for option in values})


def _merge(layers: list[Layer]) -> Layer:
    """All layers together; the first counts most.

    The probe options are one: whoever names a probe on the command line does not want another
    beside it that a file brings.
    """
    values: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    own: dict[str, list[dict[str, list[str]]]] = {}
    for layer in layers:
        has_probes = any(option in values for option in PROBES)
        is_preset = any(label.startswith("preset ") for label in layer.labels.values())
        for option, given in layer.values.items():
            # How a preset's probes ask is about those probes, not about the user's.
            is_theirs = option in PROBES or (is_preset and is_about_http(option))
            if option in values or (has_probes and is_theirs):
                continue
            values[option] = given
            labels[option] = layer.labels.get(option, option)
            if option in layer.own:
                own[option] = layer.own[option]
    return Layer(values, labels, own)


def _tone_down(
    preset: Mapping[str, list[str]], asked: Mapping[str, list[str]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """(hints, settings) of a preset that nobody asked for, beside what was *asked* for."""
    hints, chosen = {}, {}
    for option, given in preset.items():
        if option in PROBES or is_about_http(option):
            if not any(option in asked for option in PROBES):
                hints[option] = given
        elif option in _HARMLESS and option not in asked and asked.get("--main") != ["target"]:
            chosen[option] = given
    return hints, chosen
