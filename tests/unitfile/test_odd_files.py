"""What is no unit file at all, or far larger than one: one clear line, and no endless work."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from notifywrap.cli.check import main, understand
from notifywrap.unitfile.files import MOST_BYTES
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load_named
from notifywrap.unitfile.values import parse_span

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
CPU_S = 10  # of what took minutes


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def make_large(path: Path) -> None:
    path.write_text("#\n" * (MOST_BYTES // 2 + 1))


ODD = {
    "fifo": (make_fifo, "not a regular file"),
    "socket": (make_socket, "not a regular file"),
    "zero": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "directory": (lambda path: path.mkdir(), "a directory"),
    "large": (make_large, "larger than 4 MiB"),
    "empty": (lambda path: path.touch(), "empty, which masks the unit"),
}


@pytest.mark.parametrize("name", ["x.service", "x.service.d/x.conf"])
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_refused_in_one_line(
    kind: str, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """A FIFO blocked for ever, and /dev/zero took all memory."""
    (tmp_path / "x.service.d").mkdir()
    if name != "x.service":
        (tmp_path / "x.service").write_text("[Service]\nExecStart=/bin/true\n")
    make, why = ODD[kind]
    make(tmp_path / name)
    if kind == "empty" and name != "x.service":
        why = ""  # of a drop-in it says nothing
    status = main([f"{tmp_path}/x.service"])
    error = capfd.readouterr().err
    assert (status, error.count("\n")) == ((2, 1) if why else (0, 0)), error
    assert why in error
    assert not why or str(tmp_path / name) in error


def test_a_settings_file_and_a_script_may_be_odd_as_well(tmp_path: Path):
    """Whatever a unit names is looked at no further than it ends."""
    etc = tmp_path / "etc/systemd/system"
    etc.mkdir(parents=True)
    make_fifo(tmp_path / "etc/fifo")
    (etc / "x.service").write_text(
        "[Service]\nEnvironmentFile=/etc/fifo\nNoExecPaths=/opt\nExecStart=/etc/fifo $A\n"
    )
    unit = load_named("x.service", str(tmp_path))
    assert unit.environment() == ({}, False)
    assert lint(unit, understand) == []


LONG = {
    "words": "ExecStart=/bin/true " + "x " * (MIB // 2 - 99),
    "one-word": "ExecStart=/bin/true " + "x" * (MIB - 99),
    "quotes": "ExecStart=/bin/true " + "'" * (MIB - 99),
    "list": "ReadWritePaths=" + "-/x " * (MIB // 4 - 99),
    "environment": "Environment=" + "A=1 " * (MIB // 4 - 99),
    "continued": "ExecStart=/bin/true " + "x\\\n" * (MIB // 3),
    "commands": "ExecStartPre=" + "/a ; " * (MIB // 5 - 99),
    "braces": f"Environment=A=b\nExecStart=/bin/notifywrap {'${' * (MIB // 2 - 99)}",
    "time": f"WatchdogSec={'0' * (MIB - 99)}!",
    "specifiers": f"ExecStart=/bin/true {'%n' * (MIB // 2 - 99)}",
}


@pytest.mark.slow
@pytest.mark.parametrize("case", LONG)
def test_a_line_of_a_mebibyte_is_no_work_without_end(case: str, tmp_path: Path):
    """Splitting that is quadratic in the length took minutes for what systemd reads at once."""
    path = tmp_path / "x.service"
    path.write_text(f"[Service]\n{LONG[case]}\n")
    command = [sys.executable, "-m", "notifywrap", "check", str(path)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S)),
    )
    assert done.returncode in (0, 1), done.stderr[-500:]


def test_a_time_of_many_zeros_is_read_at_once():
    """Each zero more took twice as long: 60 of them were the end of a pipeline."""
    assert parse_span(f"{'0' * 60}!") is None
    assert parse_span("0" * 60) == 0
    assert parse_span("0min 0.0 s") == 0
