"""What a kernel cannot enforce of a jail is said, and what cannot be is refused."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.runtime.jailed import REAL, Jailed, start_of, without_map_files, x86_64
from tests.runtime.wrapped import START, Inbox, Wrapped, command_line, run, status_of

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
    [("strict", 0, "not enforced here: exec, taking over "),
     ("strict,exec,bind=80", 3, "bind (needs Linux 6.7)"),
     ("strict,write=/tmp", 2, "truncating files by their path (needs Linux 6.2)"),
     ("strict,nofork", 0, "such as exec: probes (this kernel has no Landlock)")],
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


@as_root
@pytest.mark.slow
@pytest.mark.parametrize("rules", ["exec", "nomemfd"])
def test_root_with_all_capabilities_is_told_what_its_jail_does_not_hold(rules: str):
    """CAP_SYS_ADMIN makes a file of any memory, and no rule is asked when that is executed."""
    done = run(f"--jail={rules}", "--ready=alive", "--", "true")
    if int(status_of(os.getpid(), "CapBnd"), 16) >> 21 & 1:
        assert "not enforced here: executing memory by way of /proc/self/map_files" in done.stderr
        assert "CapabilityBoundingSet=" in done.stderr
        done = run(f"--jail=strict,{rules}", "--", "true")
        assert done.returncode == 125
        assert "strict forbids to start so" in done.stderr
    for options in (f"strict,{rules}", "strict,nofork"):
        done = run(f"--jail={options}", "--ready=alive", "--", "true", preexec_fn=without_map_files)
        assert (done.returncode, "not enforced" in done.stderr) == (0, False), done.stderr
    assert run("--jail=strict,nofork", "--", "true").returncode == 0, "not about memory"


@as_root
@pytest.mark.slow
def test_whoever_is_root_in_a_namespace_alone_is_told_nothing():
    """PrivateUsers=: those capabilities open no map_files."""
    words = ["unshare", "--user", "--map-root-user", "--"]
    command = [*words, *command_line("--jail=strict", "--ready=alive", "--", "true")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if done.stderr.startswith("unshare: "):
        pytest.skip(f"no user namespaces here: {done.stderr}")
    assert done.returncode == 0, done.stderr


@x86_64
def test_the_filter_is_there_under_another_personality():
    """Personality=x86 makes uname(2) say i686, and nothing was filtered."""
    with Jailed("--jail=strict", preexec_fn=as_i686) as jailed:
        assert jailed.attempt("fork") == "EPERM"
        assert jailed.attempt("unix") == "EAFNOSUPPORT"


def as_i686() -> None:
    ctypes.CDLL(None).personality(8)  # PER_LINUX32, personality(2)
    without_map_files()


@pytest.mark.parametrize("rules", ["read=/", pytest.param("exec", marks=pytest.mark.slow)])
@pytest.mark.parametrize("error", ["EACCES", pytest.param("ELOOP", marks=pytest.mark.slow)])
def test_a_path_that_nobody_named_may_be_out_of_reach(rules: str, error: str):
    """InaccessiblePaths=/proc/sys is no reason not to start: the target lives with it, too."""
    start = _UNREACHABLE.format(error=error) + START
    with Jailed(f"--jail={rules}", start=start) as jailed:
        assert jailed.attempt("thread") == "ok"


# A file system that denies: root cannot be denied anything otherwise.
_UNREACHABLE = """\
import errno, os
stat = os.stat
def fail(path, **more):
    if str(path).startswith(("/proc/sys/net", "/etc/ld.so.cache", "/dev/full")):
        raise OSError(errno.{error}, "", path)
    return stat(path, **more)
os.stat = fail
"""


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
    done = run(f"--jail={rules}", "--", "touch", str(mark), preexec_fn=without_map_files)
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


@pytest.mark.parametrize(
    ("command", "status", "why"),
    [
        ("/nonexistent", 127, "no such file"),
        ("/etc/passwd", 126, "permission denied"),
        ("/etc", 126, "it is a directory"),
        ("fifo", 126, "it is not a regular file"),
    ],
)
def test_what_cannot_be_executed_ends_as_without_a_jail(
    tmp_path: Path, command: str, status: int, why: str
):
    """A typing mistake must not look like the jail's doing; nor be waited for (a FIFO)."""
    if command == "fifo":
        command = str(tmp_path / "fifo")
        os.mkfifo(command, 0o755)
    done = run("--jail", "--", command, preexec_fn=without_map_files)
    assert (done.returncode, done.stderr) == (status, run("--", command).stderr)
    assert f"cannot start {command!r}: {why}" in done.stderr


@pytest.mark.parametrize("descriptors", [range(0), range(3, 13)], ids=["", "all taken"])
def test_main_target_says_what_went_wrong_although_it_may_make_no_socket(
    inbox: Inbox, tmp_path: Path, descriptors: range
):
    """The filter is in force when exec fails; `systemctl status` must have the reason still.

    descriptors  what fd: probes ask for: one is the number of the socket that speaks to systemd
    """
    program = tmp_path / "program"
    program.write_text("no program\n")
    program.chmod(0o755)
    probes = [f"--ready=fd:{number}" for number in descriptors]
    words = ("--main=target", "--jail=nounix", *probes)
    with Wrapped([str(program)], *words, inbox=inbox) as done:
        assert done.end() == 126
    assert "not a program" in inbox.wait("STATUS")["STATUS"]


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
