"""What is known of well-known daemons: files of options, each with its source."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from notifywrap.cli import presets
from notifywrap.cli.config import make_spec
from notifywrap.cli.options import OPTIONS, parse_arguments
from notifywrap.cli.presets import DIRECTORY, find_preset, parse_preset
from notifywrap.cli.settings import settle
from notifywrap.errors import SpecError
from notifywrap.policy.events import Level
from notifywrap.policy.probe import DiscoverProbe, ExecProbe, FileProbe

if TYPE_CHECKING:
    from notifywrap.policy.spec import Spec

FILES = sorted(Path(DIRECTORY).glob("*.conf"))
NAMES = [file.stem for file in FILES]
# Issue by issue these were promised.
PROMISED = {"traefik", "minio", "caddy", "nginx", "redis", "postgres", "prometheus", "grafana",
            "nats", "etcd", "vault", "gunicorn"}  # fmt: skip
# What a preset may say: what to ask, and what signals mean. Nothing that runs a command, or changes
# what the target finds in its world.
MAY_SAY = {"--ready", "--live", "--probe", "--reload", "--map-signal", "--stop-signal", "--preset",
           "--http-status", "--http-body", "--tls-insecure"}  # fmt: skip


def spec(*words: str) -> tuple[Spec, list[tuple[Level, str]]]:
    settled, remarks = settle(parse_arguments(words, OPTIONS), {})
    return make_spec(settled, 30.0), remarks


def test_the_promised_ones_are_there() -> None:
    """By the name of the program, and by that of the project."""
    assert set(NAMES) >= PROMISED
    assert {"redis-server", "postmaster", "grafana-server", "nats-server"} <= set(NAMES)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_every_line_has_its_source(file: Path) -> None:
    """A claim about somebody else's program is worth what its source is worth."""
    blocks = file.read_text().split("\n\n")
    assert blocks[0].startswith("# ")
    told = 0
    for block in blocks:
        lines = block.strip().split("\n")
        options = [line for line in lines if not line.startswith("#")]
        told += len(options)
        sources = [line for line in lines if re.match(r"# Source: .*|# https://", line)]
        assert not options or re.search(r"https://\S+|\w+\(\d\)", "\n".join(sources)), block
        assert len(options) <= 1, "one option, one source"
    assert told, "it says nothing"
    assert file.read_text().isascii()
    assert max(map(len, file.read_text().splitlines())) <= 150


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_understood_and_harmless(name: str) -> None:
    """It is applied to services whose owner has never heard of it."""
    values = parse_preset((Path(DIRECTORY) / f"{name}.conf").read_text())
    assert set(values) <= MAY_SAY
    asked, _ = spec("--preset", name, "--", "/opt/daemon")
    assert not any(isinstance(each, ExecProbe | FileProbe) for each in asked.ready + asked.live)
    assert asked.reload_command == ()
    assert type(asked.ready[0]) is not DiscoverProbe, "it names what to probe"
    assert asked.live, "and what to watch"
    hosts = re.findall(r"https?://([^/:]+)", " ".join(p.text for p in asked.ready + asked.live))
    assert set(hosts) <= {"127.0.0.1"}, "health is nobody else's business"


@pytest.mark.parametrize("name", NAMES)
def test_one_that_nobody_asked_for_only_hints(name: str) -> None:
    """A daemon on another port, or without the page, starts and stops as it always did."""
    chosen, remarks = spec("--", f"/usr/local/bin/{name}", "--port", "1")
    plain, _ = spec("--preset", "none", "--", "/usr/local/bin/daemon")
    (probe,) = chosen.ready
    assert isinstance(probe, DiscoverProbe)
    assert (
        chosen._replace(command=plain.command, ready=plain.ready, reload_signal=plain.reload_signal)
        == plain
    )
    if chosen.reload_signal != plain.reload_signal:
        ((level, text),) = remarks
        assert level is Level.INFO
        assert re.fullmatch(rf"preset {name}: --reload \w+ \(--preset none turns it off\)", text)


def test_hints_are_better_questions_for_sockets_that_are_found() -> None:
    """Discovery itself asks whether somebody accepts, so only pages are worth a hint."""
    chosen, _ = spec("--", "prometheus")
    (probe,) = chosen.ready
    assert isinstance(probe, DiscoverProbe)
    ((port, path, ready, live),) = probe.hints
    assert (port, path) == (9090, "")
    assert (ready.text, live.text) == (
        "http://127.0.0.1:9090/-/ready",
        "http://127.0.0.1:9090/-/healthy",
    )
    assert spec("--", "redis-server")[0].ready == (DiscoverProbe(),)
    assert spec("--", "vault")[0].ready == (DiscoverProbe(),), "TLS weighs too much for a guess"


def test_a_probe_of_mine_leaves_no_hint(tmp_path: Path) -> None:
    """What I name is all that counts; what the reload signal is has nothing to do with it."""
    mine, _ = spec("--live", "tcp:1", "--", "traefik")
    assert mine.ready == (DiscoverProbe(),)
    assert mine.reload_signal == 10
    assert spec("--reload", "HUP", "--", "traefik")[0].reload_signal == 1


def test_a_sidecar_takes_the_hints_alone() -> None:
    """--main target refuses --reload; nobody has given one."""
    beside, _ = spec("--main", "target", "--", "traefik")
    (probe,) = beside.ready
    assert isinstance(probe, DiscoverProbe)
    assert probe.hints


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("trafik", "there is no preset 'trafik' (did you mean traefik?)"),
        ("xyzzy", "there are alertmanager, apache2, "),
        ("../presets/traefik", "there is no preset"),
        (".", "there is no preset"),
        ("a\0b", "there is no preset"),
        ("a" * 300, "cannot read preset"),
    ],
)
def test_a_preset_that_is_not_there_is_named(name: str, says: str) -> None:
    """It was counted on."""
    with pytest.raises(SpecError) as caught:
        spec("--preset", name, "--", "x")
    assert str(caught.value).startswith("--preset: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("command", ["none", "..", ".hidden", "/", "a" * 300, "\udcff", "a\0", ""])
def test_a_command_of_any_name_has_a_preset_or_none(command: str) -> None:
    """Nobody asked for one, so nothing about it can be a mistake."""
    assert find_preset(f"/usr/bin/{command}")[1] == {}


def test_one_that_cannot_be_read_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """InaccessiblePaths= may hide it."""
    monkeypatch.setattr(presets, "DIRECTORY", str(tmp_path))
    (tmp_path / "daemon.conf").mkdir()
    (tmp_path / "loop.conf").write_text("--preset loop\n")
    assert find_preset("daemon") == ("daemon", {})
    assert spec("--", "loop")[0].ready == (DiscoverProbe(),)


def test_looking_for_one_costs_nothing_to_speak_of() -> None:
    """It is done at every start of every service: 1 ms would be a tenth of the whole start."""

    def best_s(command: str) -> float:
        taken = []
        for _ in range(50):
            began = time.perf_counter()
            find_preset(command)
            taken.append(time.perf_counter() - began)
        return min(taken)

    assert max(best_s("postmaster"), best_s("/usr/bin/nobody-knows-it")) < 0.0005
