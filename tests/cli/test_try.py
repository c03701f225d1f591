"""`notifywrap try`: what it tells, how it ends, and that it leaves nothing behind.

Most of it with a toy that speaks the protocol by hand in place of the wrapper.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from notifywrap.cli.try_ import main, try_command
from tests.ports import free_port

TOY = str(Path(__file__).parents[1] / "testing" / "toy.py")
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
READY = "say:READY=1\\nSTATUS=up"


def toy(*deeds: str) -> list[str]:
    return [sys.executable, "-I", "-S", TOY, *deeds]


def started(
    *deeds: str, options: str = "", stdout: int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    """`try` of a toy, in a process of its own."""
    script = (
        "import sys\nfrom notifywrap.cli.try_ import try_command\n"
        f"sys.exit(try_command(sys.argv[1:], title='toy', {options}))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, *toy(*deeds)],
        env=ENV,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def read_until(stream: IO[bytes] | None, text: str) -> str:
    assert stream is not None
    lines: list[str] = []
    while not lines or text not in lines[-1]:
        raw = stream.readline()
        assert raw, f"no {text!r} in {lines}"
        lines.append(raw.decode())
    return "".join(lines)


def test_the_story_of_a_good_service(capfd: pytest.CaptureFixture[str]) -> None:
    """Every notification, what systemd would do, and a summary; exit 0."""
    deeds = (READY, "ping:0.01:3", "wait")
    assert try_command(toy(*deeds), title="toy", watchdog_s=30.0, for_s=1.0) == 0
    out = capfd.readouterr().out
    assert "READY=1  STATUS=up" in out
    assert "systemd: active after 0." in out
    assert out.count("WATCHDOG=1") == 3
    assert "systemd: SIGTERM to the main process" in out
    assert "ready       after 0." in out
    assert "pings       3, largest gap" in out
    assert "of W (30 s)" in out
    assert "watchdog    never fired" in out
    assert "killed by SIGTERM, Result=success" in out
    assert "\x1b" not in out


def test_the_watchdog_fires_and_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    """A hang ends the trial: exit 1, and what the service said last is repeated."""
    deeds = ("say:READY=1\\nSTATUS=unhealthy: http 503", "ping:0.1:2", "wait")
    assert try_command(toy(*deeds), title="toy", watchdog_s=0.3) == 1
    out = capfd.readouterr().out
    assert "watchdog would fire now: no WATCHDOG=1 for 0.3" in out
    assert "systemd sends SIGABRT" in out
    assert "it would be started again" in out
    assert "watchdog    fired" in out
    assert "STATUS then unhealthy: http 503" in out


def test_never_ready_is_exit_1(capfd: pytest.CaptureFixture[str]) -> None:
    """The last STATUS says why."""
    assert try_command(toy("say:STATUS=waiting for tcp:1", "exit:0"), title="toy") == 1
    out = capfd.readouterr().out
    assert "ready       never" in out
    assert "Result=protocol" in out
    assert "last STATUS waiting for tcp:1" in out


def test_the_targets_output_passes_and_the_wrappers_joins_the_timeline(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The target's bytes unchanged, each in its stream; the wrapper's journal lines as events."""
    deeds = (
        "print:  <6>plain text",
        "complain:<3>mine",
        "complain:<4>notifywrap: probe failed",
        READY,
        "exit:0",
    )
    try_command(toy(*deeds), title="toy")
    out, err = capfd.readouterr()
    assert "\n  <6>plain text\n" in out
    assert err == "<3>mine\n"
    assert "notifywrap: probe failed\n" in out
    assert "<4>" not in out


def test_a_stranger_who_notifies_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """The usual mistake behind a start that never ends."""
    try_command(toy("say-from-child:READY=1", "exit:0"), title="toy")
    out = capfd.readouterr().out
    assert "(from process " in out
    assert "NotifyAccess=main" in out


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(signum: int) -> None:
    """Ctrl-C is how a trial usually ends: a normal stop, the summary, exit 0."""
    trial = started(READY, "wait")
    read_until(trial.stdout, "active after")
    trial.send_signal(signum)
    rest = trial.communicate()[0].decode()
    assert "systemd: SIGTERM to the main process" in rest
    assert "Result=success" in rest
    assert trial.returncode == 0


def test_a_second_signal_kills() -> None:
    """A target that does not stop must not hold the terminal."""
    trial = started(f"ignore:{signal.SIGTERM:d}", READY, "wait", options="stop_timeout_s=600")
    read_until(trial.stdout, "active after")
    trial.send_signal(signal.SIGINT)
    read_until(trial.stdout, "SIGTERM to the main process")
    trial.send_signal(signal.SIGINT)
    rest = trial.communicate()[0].decode()
    assert "killed by SIGKILL" in rest


def test_nothing_is_left_running() -> None:
    """Also not what the target has daemonized."""
    trial = started("orphan", READY, "wait", options="for_s=0.5")
    story = read_until(trial.stdout, "active after")
    orphan = next(int(line) for line in story.splitlines() if line.isdigit())
    trial.communicate()
    with pytest.raises(ProcessLookupError):
        os.kill(orphan, 0)


def test_a_reader_that_goes_away_ends_it() -> None:
    """`notifywrap try ... | head -3`."""
    trial = started(READY, "ping:0.05:1000000")
    read_until(trial.stdout, "active after")
    assert trial.stdout is not None
    trial.stdout.close()
    assert trial.wait(30) == 0


@pytest.mark.slow
def test_a_terminal_gets_colour_and_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with NO_COLOR no colour."""
    for no_color in ("", "1"):
        monkeypatch.setitem(ENV, "TERM", "xterm")
        monkeypatch.setitem(ENV, "NO_COLOR", no_color)
        ours, theirs = pty.openpty()
        trial = started(READY, "ping:0.1:2", "wait", options="for_s=0.8", stdout=theirs)
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 65536):
                shown += data
        except OSError:
            pass  # EIO: the other end of a pty was closed
        os.close(ours)
        trial.wait()
        assert b"\r\x1b[K" in shown
        assert "active · 2 pings · last ".encode() in shown
        assert (b"\x1b[32m" in shown) == (not no_color)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "COMMAND"),
        (["--for", "soon", "--", "x"], "--for: 'soon' is not a time span"),
        (["--watchdog=-1", "--", "x"], "--watchdog: '-1' is not a time span"),
        (["--watchdog", "--", "x"], "--watchdog: needs a value"),
        (["--wachdog", "3s", "--", "x"], "did you mean --watchdog?"),
        (["--probe", "bogus:1", "--", "x"], "--probe"),
    ],
)
def test_misuse_is_one_line_and_exit_2(
    argv: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It names the option and the fix, and starts nothing."""
    assert main(argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert told in err


def test_help_fits_on_a_screen(capfd: pytest.CaptureFixture[str]) -> None:
    """`--help` after `--` is the target's."""
    assert main(["--help"]) == 0
    out = capfd.readouterr().out
    assert "--watchdog" in out
    assert len(out.splitlines()) <= 24


def wrapped(*argv: str, **popen: str) -> subprocess.CompletedProcess[str]:
    """`notifywrap try` with the real wrapper, as users call it."""
    return subprocess.run(
        [sys.executable, "-m", "notifywrap", "try", *argv],
        env=ENV,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        **popen,
    )


def test_the_real_wrapper_becomes_ready(tmp_path: Path) -> None:
    """From a directory full of traps: modules there must not be imported instead of ours."""
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')\n")
    (tmp_path / "notifywrap").mkdir()
    port = free_port()
    options = ("--watchdog=2s", "--for", "2s", "--probe", f"tcp:127.0.0.1:{port}")
    server = ("-m", "http.server", "--bind", "127.0.0.1", str(port))
    trial = subprocess.run(
        [sys.executable, "-c", "import sys; from notifywrap.cli.try_ import main; "
         "import os; os.chdir(sys.argv[1]); sys.exit(main(sys.argv[2:]))",
         str(tmp_path), *options, "--", sys.executable, "-I", *server],
        env={**ENV, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )  # fmt: skip
    assert trial.returncode == 0, trial.stdout + trial.stderr
    assert "systemd: active after" in trial.stdout
    assert "inactive (Result=success)" in trial.stdout


@pytest.mark.slow
def test_the_real_wrapper_lets_the_watchdog_fire_for_a_frozen_target() -> None:
    """What script/demo shows."""
    port = free_port()
    server = (
        "import os, signal, socket, threading\n"
        f"listener = socket.create_server(('127.0.0.1', {port}))\n"
        "threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGSTOP)).start()\n"
        "while True: listener.accept()[0].close()\n"
    )
    options = ("--watchdog", "1s", "--probe", f"tcp:127.0.0.1:{port}")
    trial = wrapped(*options, "--", sys.executable, "-I", "-c", server)
    assert trial.returncode == 1, trial.stdout + trial.stderr
    assert "watchdog would fire now" in trial.stdout
    assert "Result=watchdog" in trial.stdout


def test_the_real_wrapper_and_a_command_that_is_not_there() -> None:
    """The wrapper's own line is seen, in the timeline."""
    trial = wrapped("--", "/no/such/command")
    assert trial.returncode == 1
    assert "cannot start '/no/such/command'" in trial.stdout
    assert "exit status 127" in trial.stdout
