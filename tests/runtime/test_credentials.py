"""`--credential`: a secret gets into the target's environment, and nowhere else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.runtime.wrapped import Wrapped, clean_environment, run, state_of, until

SECRET = "s3cret-of-the-test"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """What systemd would set up for LoadCredential=."""
    (tmp_path / "db-password").write_text(f"{SECRET}\n")
    return tmp_path


def environment_of(pid: int) -> dict[bytes, bytes]:
    block = Path(f"/proc/{pid}/environ").read_bytes()
    return dict(entry.partition(b"=")[::2] for entry in block.split(b"\0") if entry)


@pytest.mark.parametrize("main", ["wrapper", "target"])
@pytest.mark.parametrize("jail", [(), ("--jail=default,read=/etc",)])
def test_a_secret_is_in_the_targets_environment_and_nowhere_else(
    directory: Path, main: str, jail: tuple[str, ...]
):
    """Not in the wrapper's, its memory, its log, or an exec probe's. The jail comes after it."""
    probed = directory / "probed"
    probe = f"exec:/bin/sh -c 'env >{probed}'"
    env = clean_environment(CREDENTIALS_DIRECTORY=str(directory))
    words = ("--credential", "db-password", "--log-level", "debug", "--probe", probe, *jail)
    with Wrapped(["/bin/sh", "-c", "echo up; read x"], "--main", main, *words, env=env) as wrapper:
        assert wrapper.line() == "up"
        target = wrapper.target_pid if main == "wrapper" else wrapper.pid
        assert environment_of(target)[b"DB_PASSWORD"] == SECRET.encode()
        until(probed.exists, "a round of probes")
        until(lambda: "PATH=" in probed.read_text(), "all of its environment")
        if main == "wrapper" and os.geteuid() == 0:  # it is undumpable: nobody else may look
            assert b"DB_PASSWORD" not in environment_of(wrapper.pid)
            memory = memory_of(wrapper.pid)
            assert b"db-password" in memory, "that is where it would be"
            assert SECRET.encode() not in memory
        wrapper.tell("")
        wrapper.end()
    assert SECRET not in probed.read_text()
    assert SECRET not in wrapper.errors


def memory_of(pid: int) -> bytes:
    """All that a process can write to. Needs root, as it is undumpable.

    It is held meanwhile: a mapping that it gives back between two reads cannot be read (EIO).
    """
    found = b""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state_of(pid) == "T", "the process to stand still")
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            addresses, mode = line.split()[:2]
            if mode.startswith("rw"):
                start, end = (int(word, 16) for word in addresses.split("-"))
                memory.seek(start)
                found += memory.read(end - start)
    os.kill(pid, signal.SIGCONT)
    return found


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_secret_arrives_byte_for_byte_but_for_one_newline(directory: Path, locale: str):
    """echo(1) and editors end a file with one; a second one was meant."""
    contents = {
        "plain": b"plain",
        "newline": b"one newline\n",
        "two": b"two\n\n",
        "key": b"-----BEGIN KEY-----\nx\n-----END KEY-----\n",
        "nothing": b"",
        "no-text": b"\xff\xfe caf\xc3\xa9\n",
    }
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    env = clean_environment(CREDENTIALS_DIRECTORY=str(directory), TWO="before", LC_ALL=locale)
    options = [word for name in contents for word in ("--credential", name)]
    with Wrapped(["/bin/sh", "-c", "echo up; read x"], *options, env=env) as wrapper:
        assert wrapper.line() == "up"
        found = environment_of(wrapper.target_pid)
    for name, content in contents.items():
        assert found[name.upper().replace("-", "_").encode()] == content.removesuffix(b"\n")


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["--credential", "missing"], "add LoadCredential=missing:/path/to/it"),
        (["--credential", "binary"], "NUL"),
        (["--credential", "huge:X"], "longer than"),
        (["--credential", "directory:X"], "is a directory"),
        (["--credential", "fifo:X"], "is not a regular file"),
    ],
)
def test_a_credential_that_cannot_be_had_is_told_in_a_line(
    directory: Path, words: list[str], fix: str
):
    """Without its secret the target would start, and fail where nobody looks."""
    (directory / "binary").write_bytes(b"a\0" + SECRET.encode())
    (directory / "huge").write_bytes(b"x" * 65537)
    (directory / "directory").mkdir()
    os.mkfifo(directory / "fifo")
    mark = directory / "mark"
    env = clean_environment(CREDENTIALS_DIRECTORY=str(directory))
    for main in ("wrapper", "target"):
        done = run("--main", main, *words, "--", "touch", str(mark), env=env)
        assert done.returncode == 2
        assert done.stderr.startswith("<3>notifywrap: --credential: ")
        assert done.stderr.count("\n") == 1
        assert fix in done.stderr
        assert SECRET not in done.stderr
    assert not mark.exists()


def test_without_any_credentials_the_fix_is_in_the_line():
    """Started by hand, or from a unit that lacks the setting."""
    done = run("--credential", "token", "--", "true", env=clean_environment())
    assert done.returncode == 2
    assert "there are no credentials here (add LoadCredential=token:" in done.stderr


def test_the_place_of_the_setting_is_named():
    """A drop-in sets the variable; the line must not send people to ExecStart=."""
    done = run("--", "true", env=clean_environment(NOTIFYWRAP_CREDENTIAL="token"))
    assert done.stderr.startswith("<3>notifywrap: NOTIFYWRAP_CREDENTIAL: there are no")
