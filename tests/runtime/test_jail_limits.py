"""What a kernel cannot enforce of a jail is said, and what cannot be is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.runtime.jailed import REAL, Jailed, start_of, x86_64
from tests.runtime.wrapped import START, Inbox, Wrapped, run

EVERYTHING = "default,nosignal,bind=0,noconnect"
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


# --- what this kernel can do ----------------------------------------------------------------------


@pytest.mark.parametrize("abi", range(8))
def test_an_older_kernel_does_what_it_can_and_says_the_rest(abi: int, listener: int):
    """Debian 12 has ABI 2. A jail that silently does less is worse than none."""
    with Jailed(f"--jail={EVERYTHING}", start=start_of(abi)) as jailed:
        wanted = {
            "fork": "EPERM",
            "unix": "EAFNOSUPPORT",
            "exec /nonexistent": "ENOENT",
            f"connect {listener}": "EACCES" if abi >= 4 else "ok",
            f"kill {jailed.pid}": "EPERM" if abi >= 6 else "ok",
            "thread": "ok",
        }
        assert {words: jailed.attempt(words) for words in wanted} == wanted
        if abi:
            assert jailed.attempt("exec /bin/true") == "EACCES"
        jailed.signal(15)
        jailed.end()
    gaps = [line for line in jailed.errors.splitlines() if "not enforced" in line]
    if abi >= 6:
        assert gaps == []
        return
    (line,) = gaps
    assert line.startswith("<4>notifywrap: --jail: not enforced here: ")
    assert ("exec" in line) is (abi == 0)
    assert ("connect" in line) is (abi < 4)
    assert "nosignal" in line


def test_before_linux_5_19_it_is_said_that_files_cannot_be_moved(tmp_path: Path):
    """Such a kernel denies it to everybody with a ruleset, and nobody can allow it."""
    (tmp_path / "a").mkdir()
    with Jailed("--jail", start=start_of(1)) as jailed:
        assert jailed.attempt("write", tmp_path / "x") == "ok"
        assert jailed.attempt("rename", tmp_path / "x", tmp_path / "a" / "x") == "EXDEV"
        jailed.signal(15)
        jailed.end()
    assert "files cannot be moved to another directory" in jailed.errors


@pytest.mark.parametrize(
    ("rules", "abi", "missing"),
    [("strict", 0, "exec (this kernel has no Landlock)"),
     ("strict,exec,bind=80", 3, "bind (needs Linux 6.7)"),
     ("strict,write=/tmp", 2, "truncating files by their path (needs Linux 6.2)")],
)  # fmt: skip
def test_strict_starts_nothing_where_something_is_not_enforced(
    tmp_path: Path, inbox: Inbox, rules: str, abi: int, missing: str
):
    """And says it where a sysadmin looks: in the journal and in STATUS."""
    mark = tmp_path / "mark"
    with Wrapped(
        ["touch", str(mark)], f"--jail={rules}", inbox=inbox, start=start_of(abi)
    ) as wrapper:
        assert wrapper.end() == 125
    assert wrapper.errors.count("\n") == 1
    assert missing in wrapper.errors
    assert "strict" in wrapper.errors
    assert missing in inbox.wait("STATUS")["STATUS"]
    assert not mark.exists()


def test_strict_starts_where_all_is_enforced():
    """A refusal for nothing would teach people to leave it out."""
    with Jailed("--jail=strict") as jailed:
        assert jailed.attempt("fork") == "EPERM"


def test_a_machine_whose_calls_cannot_be_filtered_says_so(tmp_path: Path):
    """riscv64 is a Debian architecture: exec holds there, nofork does not."""
    start = "import notifywrap.runtime.jail as jail\njail.MACHINES = {}\n" + START
    with Jailed("--jail", start=start) as jailed:
        assert jailed.attempt("fork") == "ok"
        assert jailed.attempt("exec", "/bin/true") == "EACCES"
        jailed.signal(15)
        jailed.end()
    assert "not enforced here: nofork, nomemfd, nounix" in jailed.errors


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "status", "fix"),
    [
        ("read=/nonexistent", 2, "write read=-/nonexistent if it may be missing"),
        ("write=/nonexistent/x", 2, "create it before the start"),
        ("exec=/nonexistent", 2, "no such file"),
        ("exec=/etc/passwd/x", 2, "not a directory"),
    ],
)
def test_a_path_that_is_not_there_is_told_before_anything_starts(
    tmp_path: Path, rules: str, status: int, fix: str
):
    """Found when the first request needs it, it would be found at night."""
    mark = tmp_path / "mark"
    done = run(f"--jail={rules}", "--", "touch", str(mark))
    assert done.returncode == status
    assert done.stderr.startswith(f"<3>notifywrap: --jail: {rules}: ")
    assert fix in done.stderr
    assert done.stderr.count("\n") == 1
    assert not mark.exists()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--target-notify", "require"], "--target-notify require"),
        (["--ready", "notify"], "'notify'"),
        (["--pidfile", "/run/x.pid"], "--pidfile"),
        (["exec,nofork"], "--jail=exec,nofork"),
    ],
)
def test_what_contradicts_a_jail_is_refused_in_a_line(words: list[str], names: str):
    """The service would wait for something that cannot come."""
    done = run("--jail", *words, "--", "true")
    assert done.returncode == 2
    assert names in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_target_that_cannot_speak_is_not_invited_to(inbox: Inbox):
    """It would fail, or complain, for each word to a socket that it cannot reach."""
    code = "import os; print(os.environ.get('NOTIFY_SOCKET'), flush=True); os.read(0, 1)"
    with Wrapped([REAL, "-ISc", code], "--jail", "--ready", "alive", inbox=inbox) as wrapper:
        assert wrapper.line() == "None"
        assert inbox.wait("READY", "1")


@x86_64
def test_a_program_of_another_machine_is_refused_where_calls_are_filtered(tmp_path: Path):
    """Each of its calls would fail, exit among them."""
    program = tmp_path / "program"
    header = bytearray(Path("/bin/true").read_bytes()[:4096])
    header[4] = 1  # ELFCLASS32
    program.write_bytes(header)
    program.chmod(0o755)
    done = run("--jail=nofork", "--", str(program))
    assert done.returncode == 125
    assert "is not a 64-bit program of this machine" in done.stderr


@pytest.mark.parametrize(("command", "status"), [("/nonexistent", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_executed_ends_as_without_a_jail(command: str, status: int):
    """A typing mistake must not look like the jail's doing."""
    done = run("--jail", "--", command)
    assert (done.returncode, done.stderr) == (status, run("--", command).stderr)


@as_root
def test_an_unreadable_program_is_named(tmp_path: Path):
    """0711 is enough to execute it, and not to see which loader it needs."""
    program = Path("/tmp") / f"notifywrap-unreadable-{os.getpid()}"
    shutil.copy("/bin/true", program)
    program.chmod(0o711)
    try:
        done = run(
            "--jail", "--", str(program), user=NOBODY, group=NOBODY, extra_groups=[], cwd="/"
        )
    finally:
        program.unlink()
    assert done.returncode == 125
    assert f"cannot read '{program}', to see which loader it needs" in done.stderr


@as_root
@pytest.mark.parametrize("mode", [0o4755, 0o755], ids=["setuid", "setcap"])
def test_a_target_that_loses_its_privilege_is_told_about(mode: int):
    """no_new_privs is part of a jail: nginx with setcap would fail to bind port 80."""
    program = Path("/tmp") / f"notifywrap-privileged-{os.getpid()}"
    shutil.copy("/bin/true", program)
    program.chmod(mode)
    if mode == 0o755:  # VFS_CAP_REVISION_2, CAP_NET_BIND_SERVICE permitted and effective
        value = bytes.fromhex("0100000200040000000000000000000000000000")
        os.setxattr(program, "security.capability", value)
    try:
        done = run(
            "--jail", "--", str(program), user=NOBODY, group=NOBODY, extra_groups=[], cwd="/"
        )
        as_its_owner = run("--jail", "--", str(program))
    finally:
        program.unlink()
    assert done.returncode == 0
    assert "AmbientCapabilities=" in done.stderr
    assert "AmbientCapabilities=" not in as_its_owner.stderr, "root loses nothing"
