"""Which files are executed for a command, against what the kernel and ldd(1) say."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifywrap.runtime.program import Program, find_programs

TRUE = Path("/bin/true")
PATH = {"PATH": "/usr/bin:/bin"}


def executable(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    path.chmod(0o755)
    return str(path)


def test_a_dynamic_program_needs_its_loader():
    """readelf(1) is the witness."""
    shown = subprocess.run(["readelf", "-l", TRUE], capture_output=True, text=True, check=True)
    loader = re.search(r"program interpreter: (.*)\]", shown.stdout)
    assert loader
    found = find_programs(str(TRUE), PATH)
    assert [(each.path, each.role) for each in found] == [
        (str(TRUE), ""),
        (loader[1], "loader"),
    ]
    assert found[0].machine == found[1].machine > 0


def test_a_static_program_needs_nothing(tmp_path: Path):
    """Nothing else is then executable in the jail at all: what loaders are at their end."""
    (loader,) = [each.path for each in find_programs(str(TRUE), PATH) if each.role == "loader"]
    assert find_programs(loader, PATH) == [Program(loader, "", find_programs(loader, PATH)[0][2])]


@pytest.mark.parametrize(
    ("first", "roles"),
    [
        ("#!/bin/sh", ["/bin/sh"]),
        ("#! /bin/sh -e", ["/bin/sh"]),
        ("#!/usr/bin/env sh", ["/usr/bin/env", "/usr/bin/sh"]),
        ("#!/usr/bin/env -S sh -e", ["/usr/bin/env", "/usr/bin/sh"]),
        ("#!/usr/bin/env -S A=b sh", ["/usr/bin/env", "/usr/bin/sh"]),
        ("#!/usr/bin/env -S -u HOME sh -e", ["/usr/bin/env", "/usr/bin/sh"]),
        ("#!/usr/bin/env\t-vS\tsh\t-e", ["/usr/bin/env", "/usr/bin/sh"]),
    ],
)
def test_a_script_needs_its_interpreters(tmp_path: Path, first: str, roles: list[str]):
    """And env(1) is not the one that matters."""
    script = executable(tmp_path / "x", f"{first}\n".encode())
    found = find_programs(script, PATH)
    assert [each.path for each in found if each.role == "interpreter"] == roles
    assert [each.role for each in found if each.role == "loader"] == ["loader"]
    assert found[0] == Program(script)


@pytest.mark.parametrize(
    "argument",
    ["-S -C / sh", "sh -e", "no-such-command", "-S no-such-command", "-S 'sh'", "A=b", "-i sh"],
)
def test_what_env_executes_is_known_or_said_not_to_be(tmp_path: Path, argument: str):
    """What is not known is not executable in the jail; env itself says the rest."""
    script = executable(tmp_path / "x", f"#!/usr/bin/env {argument}\n".encode())
    found = find_programs(script, PATH)
    assert found[0] == Program(script, is_opaque=True)
    assert [each.path for each in found if each.role == "interpreter"] == ["/usr/bin/env"]


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket"])
@pytest.mark.parametrize("is_interpreter", [False, True])
def test_what_is_no_file_is_refused_and_not_waited_for(
    tmp_path: Path, kind: str, is_interpreter: bool
):
    """A FIFO is opened when somebody writes to it, and until then the wrapper was deaf to TERM."""
    path = tmp_path / "x"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.mknod(path, 0o140755)
    path.chmod(0o755)
    command = str(path)
    if is_interpreter:
        command = executable(tmp_path / "script", f"#!{path}\n".encode())
    with pytest.raises(PermissionError) as caught:
        find_programs(command, PATH)
    assert caught.value.filename is None, "as execve(2) says, and not: cannot read"


def test_an_interpreter_that_is_itself_a_script_needs_its_own(tmp_path: Path):
    """Linux allows that up to five times; a ring ends."""
    inner = executable(tmp_path / "inner", b"#!/bin/sh\n")
    outer = executable(tmp_path / "outer", f"#!{inner}\n".encode())
    assert [each.path for each in find_programs(outer, PATH)][:3] == [outer, inner, "/bin/sh"]
    ring = executable(tmp_path / "ring", f"#!{tmp_path}/ring\n".encode())
    assert find_programs(ring, PATH) == [Program(ring)]


def test_a_name_is_looked_up_as_execvp_does(tmp_path: Path):
    """The first that can be executed, not the first of that name."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "x").write_text("")
    wanted = executable(tmp_path / "two" / "x", b"#!/bin/sh\n")
    path = f"{tmp_path}/one:{tmp_path}/two"
    assert find_programs("x", {"PATH": path})[0].path == wanted
    with pytest.raises(FileNotFoundError):
        find_programs("no-such-command", {"PATH": path})
    with pytest.raises(FileNotFoundError):
        find_programs(f"{tmp_path}/no", {})


@given(cut=st.integers(0, 900), at=st.integers(0, 900), byte=st.integers(0, 255))
def test_a_broken_file_is_no_reason_to_fail(
    tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, byte: int
):
    """Whoever can replace the target's file must get no more than an exec that fails."""
    path = tmp_path_factory.getbasetemp() / f"broken-{os.getpid()}"
    content = bytearray(TRUE.read_bytes())
    content[at] = byte
    program = executable(path, bytes(content[: cut or None]))
    try:
        found = find_programs(program, PATH)
    except (FileNotFoundError, PermissionError, ValueError):
        return  # the loader that it names now: not there, or a directory
    assert found[0].path == program
