"""`notifywrap unit new`: what is asked of the wrapper decides what the unit around it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from notifywrap.cli import unit
from notifywrap.cli.check import understand
from notifywrap.cli.options import OPTIONS
from notifywrap.unitfile.findings import Severity
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import Unit, parse_unit
from tests.cli.every_option import VALUES, written


def make(capfd: pytest.CaptureFixture[str], *words: str) -> Unit:
    """The unit that it prints; there must be no complaint about it."""
    assert unit.main(["new", *words]) == 0, capfd.readouterr().err
    made = parse_unit(capfd.readouterr().out, "app.service")
    severe = [each for each in lint(made, understand) if each.severity is not Severity.HINT]
    assert severe == []
    return made


def test_every_option_is_tried_here():
    """A new one may need something of the unit, too."""
    assert set(VALUES) == set(OPTIONS)


@pytest.mark.parametrize("option", VALUES)
def test_the_unit_fits_every_option(option: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """`unit new` takes all of them: a unit that our own check refuses is none."""
    value = VALUES[option]
    if option == "--config":
        value = str(tmp_path / "notifywrap.toml")
        Path(value).write_text('probe = ["tcp:8080"]\ncredential = ["token"]\n')
    words = written(option, value)
    made = make(capfd, "--name", "app", *words, "--", "true")
    ((command, _),) = made.commands("ExecStart")
    at = command.argv.index(option) if option in command.argv else -1
    assert at < 0 or command.argv[at + 1].replace("$$", "$") == value


@pytest.mark.parametrize("option", ["--probe", "--ready", "--live", "--reload"])
def test_what_notifywrap_runs_may_be_executed(option: str, capfd: pytest.CaptureFixture[str]):
    """A unit with `exec:` that lets nothing but the daemon run could never start."""
    made = make(capfd, option, "exec:ls -l /", "--", "true")
    assert {"/usr/bin/ls", "/usr/bin/true"} <= set(made.words("ExecPaths"))


def test_the_interpreter_of_a_probe_may_be_executed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """And an environment that a script belongs to."""
    script = tmp_path / "ask"
    script.write_text(f"#!/usr/bin/env -S {sys.executable} -I\n")
    script.chmod(0o755)
    made = make(capfd, "--probe", f"exec:{script}", "--", "true")
    assert {str(script), "/usr/bin/env", sys.executable} <= set(made.words("ExecPaths"))


def test_a_probe_whose_program_is_not_there_is_refused(capfd: pytest.CaptureFixture[str]):
    """Now, and not by a service that does not start."""
    assert unit.main(["new", "--probe", "exec:no-such-command x", "--", "true"]) == 2
    assert "exec:no-such-command x: 'no-such-command' is no program" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--credential", "tok"], "tok"),
        (["--credential", "tok:TOKEN"], "tok"),
        (["--probe=http://127.0.0.1/", "--http-header-credential", "Authorization:tok"], "tok"),
    ],
)
def test_a_credential_is_loaded(words: list[str], name: str, capfd: pytest.CaptureFixture[str]):
    """And it is said where root is to put it."""
    made = make(capfd, "--name", "app", *words, "--", "true")
    assert made.text("LoadCredential") == f"{name}:/etc/app/{name}"


def test_beside_the_target_it_may_speak_for_it(capfd: pytest.CaptureFixture[str]):
    """With --main target systemd would not listen to notifywrap, and signals go to the target."""
    made = make(capfd, "--main", "target", "--", "nginx")
    assert made.text("NotifyAccess") == "all"
    assert made.text("KillSignal") == "SIGQUIT"
    assert made.text("ExecReload").endswith("kill -HUP $MAINPID")
    assert make(capfd, "--", "nginx").lines("NotifyAccess") == []


@pytest.mark.parametrize("words", [["--period", "40s"], ["--timeout", "45s"]])
def test_the_watchdog_gives_a_slow_round_its_time(
    words: list[str], capfd: pytest.CaptureFixture[str]
):
    """30 s would end a healthy service."""
    made = make(capfd, *words, "--", "true")
    assert made.span("WatchdogSec", default=0.0) >= 90
    assert make(capfd, "--", "true").span("WatchdogSec", default=0.0) == 30


@pytest.mark.parametrize(
    "words",
    [
        ["--probe", "unix:/run/app/app.sock"],
        ["--probe", "http+unix://%2Frun%2Fapp%2Fapp.sock/"],
        ["--ready", "file:/var/run/app/up"],
        ["--pidfile", "/run/app/app.pid"],
        ["--jail=write=${RUNTIME_DIRECTORY}"],
    ],
)
def test_what_it_puts_into_run_has_a_place(words: list[str], capfd: pytest.CaptureFixture[str]):
    """No service that is not root may write there."""
    made = make(capfd, "--name", "app", *words, "--", "true")
    assert made.words("RuntimeDirectory") == ["app"]
    assert "/run/app" in made.words("NoExecPaths")


def test_a_script_of_a_compiler_at_run_time_may_write_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """node is behind #! of most services in JavaScript."""
    for name, text in {"node": "", "app": "#!/usr/bin/env node\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin")
    for command, denied in (("app", False), ("true", True)):
        assert unit.main(["new", "--", command]) == 0
        assert parse_unit(capfd.readouterr().out).flag("MemoryDenyWriteExecute") is denied
