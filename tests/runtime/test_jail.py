"""A target in a jail is denied what was listed, keeps the rest, and both are said."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.wrapped import START, Inbox, Wrapped, is_gone, run, status_of, target, until

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYTHING = "default,nosignal,bind=0,noconnect"
REAL = os.path.realpath(sys.executable)  # a virtual environment's python is a link to it
INTRUDER = [REAL, *target("intruder")[1:]]
NOBODY = 65534
# A kernel with an older Landlock: what is asked of it, and what it is asked for, follows from this.
OLDER = """\
import notifywrap.runtime.landlock as landlock
landlock.find_abi = lambda: ({abi}, "this kernel has no Landlock" * (not {abi}))
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="another machine's calls")


def start_of(abi: int) -> str:
    return OLDER.format(abi=abi) + START


class Jailed(Wrapped):
    """The intruder, in a jail."""

    def __init__(self, *options: str, **more: Any) -> None:
        super().__init__(INTRUDER, "--ready", "alive", *options, **more)

    def __enter__(self) -> Jailed:
        super().__enter__()
        assert self.line() == "ready"
        return self

    def attempt(self, *words: object) -> str:
        """What came of it: "ok", or the errno's name."""
        self.tell(" ".join(map(str, words)))
        return self.line().partition(" ")[0]


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of somebody else's server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_bare_jail_takes_away_what_an_intruder_needs(listener: int, tmp_path: Path):
    """And leaves what a daemon needs: threads, TCP, its files, wherever they are."""
    with Jailed("--jail") as jailed:
        denied = {
            "fork": "EPERM",
            "clone3": "ENOSYS",
            "spawn": "EPERM",
            "subprocess": "EPERM",
            "exec /bin/true": "EACCES",
            "memfd": "EPERM",
            "run_memfd": "EPERM",
            "unix": "EAFNOSUPPORT",
            "unix_pair datagram": "EAFNOSUPPORT",
            "io_uring": "EPERM",
        }
        assert {words: jailed.attempt(words) for words in denied} == denied
        (tmp_path / "other").mkdir()
        allowed = [
            "thread",
            "unix_pair stream",
            "bind 0",
            f"connect {listener}",
            "read /etc/passwd",
            "list /",
            f"write {tmp_path}/x",
            f"rename {tmp_path}/x {tmp_path}/other/y",
            f"truncate {tmp_path}/other/y",
            f"remove {tmp_path}/other/y",
        ]
        assert {words: jailed.attempt(words) for words in allowed} == dict.fromkeys(allowed, "ok")


@x86_64
def test_calls_by_other_numbers_do_not_get_out():
    """A filter that forgets the architecture is none: fork is 2 for int 0x80."""
    with Jailed("--jail") as jailed:
        assert jailed.attempt("vfork_by_x32") == "ENOSYS"
        assert jailed.attempt("fork_by_other_number") == "ENOSYS"


def test_without_a_jail_the_same_attempts_succeed(listener: int):
    """Or all the other tests would prove nothing."""
    attempts = ["fork", "spawn", "subprocess", "memfd", "unix", "unix_pair datagram", "bind 0",
                f"connect {listener}", f"connect_fast {listener}", f"kill {os.getpid()}",
                "exec /bin/true"]  # fmt: skip
    with Jailed() as jailed:
        last = attempts.pop()
        assert {words: jailed.attempt(words) for words in attempts} == dict.fromkeys(attempts, "ok")
        jailed.attempt(last)
        assert jailed.end() == 0, "it has become true(1)"


def test_ports_are_closed_by_every_way_that_leads_to_them(listener: int):
    """Multipath TCP and Fast Open went past Landlock's rules (tried on Linux 6.18)."""
    with Jailed("--jail=nobind,noconnect") as jailed:
        denied = {
            "bind 0": "EACCES",
            f"connect {listener}": "EACCES",
            f"connect_multipath {listener}": "EPROTONOSUPPORT",
            f"connect_fast {listener}": "EPERM",
            "io_uring": "EPERM",
        }
        assert {words: jailed.attempt(words) for words in denied} == denied
        assert jailed.attempt(f"say_by_udp {listener}") == "ok", "documented: TCP alone"
        assert jailed.attempt("fork") == "ok", "a rule that was not asked for"


def test_a_port_that_is_named_is_open_and_its_neighbour_is_not(listener: int):
    """One backend, and nothing else of the machine."""
    with socket.create_server(("127.0.0.1", 0)) as other, Jailed(
        f"--jail=connect={listener},bind=0"
    ) as jailed:  # fmt: skip
        assert jailed.attempt("connect", listener) == "ok"
        assert jailed.attempt("connect", other.getsockname()[1]) == "EACCES"
        assert jailed.attempt("bind", 0) == "ok"
        assert jailed.attempt("bind", listener + 1) == "EACCES"


def test_paths_are_for_what_they_were_listed_for(tmp_path: Path):
    """read= and write= leave the target runnable: its own file, its libraries, /dev/null."""
    data, state, other = (tmp_path / name for name in ("data", "state", "other"))
    for directory in (data, state, other):
        directory.mkdir()
        (directory / "file").write_text("text")
    reads = f"read={Path(INTRUDER[-1]).parent},read={data},read=-/nonexistent"
    with Jailed(f"--jail=default,{reads},write={state}") as jailed:
        wanted = {
            f"read {data}/file": "ok",
            f"list {data}": "ok",
            f"read {state}/file": "ok",
            f"read {other}/file": "EACCES",
            f"list {other}": "EACCES",
            "read /etc/passwd": "EACCES",
            "read /dev/urandom": "ok",
            "write /dev/null": "ok",
            "thread": "ok",
            f"write {state}/new": "ok",
            f"rename {state}/new {state}/newer": "ok",
            f"truncate {state}/newer": "ok",
            f"remove {state}/newer": "ok",
            f"mkdir {state}/directory": "ok",
            f"write {data}/file": "EACCES",
            f"truncate {data}/file": "EACCES",
            f"remove {data}/file": "EACCES",
            f"mkdir {data}/directory": "EACCES",
            f"rename {state}/file {data}/new": "EACCES",
            f"write {tmp_path}/new": "EACCES",
        }
        assert {words: jailed.attempt(words) for words in wanted} == wanted


def test_nowrite_leaves_nothing_to_write_to(tmp_path: Path):
    """For what only answers questions."""
    with Jailed("--jail=nowrite") as jailed:
        assert jailed.attempt("write", tmp_path / "x") == "EACCES"
        assert jailed.attempt("read", "/etc/passwd") == "ok"


def test_nosignal_keeps_signals_inside():
    """Killing the wrapper would end the watch, and stopping it would end the service."""
    with Jailed("--jail=nosignal") as jailed:
        assert jailed.attempt("kill", jailed.pid) == "EPERM"
        assert jailed.attempt("kill", jailed.target_pid) == "ok"
        jailed.signal(15)
        until(lambda: is_gone(jailed.target_pid), "signals to the target come through")
        assert jailed.end() == -15


def test_exec_with_a_path_opens_that_and_what_it_needs(tmp_path: Path):
    """A file with its interpreter, or a directory of plug-ins."""
    script, other = tmp_path / "script", tmp_path / "other"
    for path in (script, other):
        path.write_text(f"#!{shutil.which('sh')}\nexit 7\n")
        path.chmod(0o755)
    with Jailed(f"--jail=exec={script}") as jailed:
        assert jailed.attempt("exec", other) == "EACCES"
        assert jailed.attempt("exec", "/bin/true") == "EACCES"
        jailed.tell(f"exec {script}")
        assert jailed.end() == 7
    with Jailed(f"--jail=exec={tmp_path},exec={script}") as jailed:
        jailed.tell(f"exec {other}")
        assert jailed.end() == 7


@pytest.mark.parametrize("first", ["#!{sh} -e", "#!/usr/bin/env sh", "#!/usr/bin/env -S sh -e"])
def test_a_script_gets_its_interpreter_and_that_is_said(tmp_path: Path, first: str):
    """Whoever runs a shell in a jail must know that it runs all that it can read."""
    script = tmp_path / "daemon"
    script.write_text(f"{first.format(sh=shutil.which('sh'))}\necho up\n/bin/true\necho end $?\n")
    script.chmod(0o755)
    done = run("--jail=exec,nofork", "--ready", "alive", "--", str(script))
    assert "up" in done.stdout
    assert "fork" in done.stderr, "the shell says why there is no true(1)"
    (line,) = [line for line in done.stderr.splitlines() if "nothing is executed but" in line]
    assert f"but {script}, its interpreter " in line
    assert "its loader /lib" in line
    assert "interpreter or loader can read" in line or "loader or interpreter can read" in line


def test_a_program_that_needs_to_fork_says_so_itself():
    """The target's own log has the reason, in its own words."""
    done = run("--jail", "--ready", "alive", "--", "/bin/sh", "-c", "/bin/true")
    assert "fork" in done.stderr
    assert done.returncode != 0


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


# --- with the rest of the wrapper -----------------------------------------------------------------


def test_the_wrapper_itself_is_in_no_jail(inbox: Inbox):
    """It forks its exec probes, and tells systemd."""
    probe = "exec:/bin/sh -c '/bin/true; /bin/true'"
    with Wrapped(["sleep", "1000"], "--jail", "--probe", probe, inbox=inbox) as wrapper:
        assert inbox.wait("READY", "1")
        assert status_of(wrapper.pid, "NoNewPrivs") == "0"
        assert status_of(wrapper.pid, "Seccomp") == status_of(os.getpid(), "Seccomp")
        assert status_of(wrapper.target_pid, "NoNewPrivs") == "1"
        assert status_of(wrapper.target_pid, "Seccomp") == "2"


def test_the_target_as_the_main_process_is_jailed_and_its_sidecar_is_not(inbox: Inbox):
    """`--main target`: the process that systemd started goes into the jail itself."""
    probe = "exec:/bin/sh -c '/bin/true; /bin/true'"
    options = ("--main", "target", "--jail", "--probe", probe)
    with Wrapped([*INTRUDER], *options, inbox=inbox) as both:
        assert both.line() == "ready"
        assert inbox.wait("READY", "1")
        both.tell("fork")
        assert both.line() == "EPERM"
        both.tell("exec /bin/true")
        assert both.line() == "EACCES"
        assert status_of(both.pid, "Seccomp") == "2"


def test_main_target_is_told_what_is_wrong_with_its_jail():
    """The same line, the same status, and no sidecar that goes on."""
    done = run("--main", "target", "--jail=read=/nonexistent", "--", "true")
    assert done.returncode == 2
    assert "--jail: read=/nonexistent: no such file" in done.stderr


def test_probes_of_log_and_descriptor_pass_through_the_wall(inbox: Inbox):
    """What is open stays open: pipes made before the jail are the target's."""
    words = ["/bin/sh", "-c", "echo up; echo >&5; exec sleep 1000"]
    jail = f"--jail=default,exec={shutil.which('sleep')},read=/etc,nowrite"
    with Wrapped(words, jail, "--ready", "log:^up$", "--ready", "fd:5", inbox=inbox) as wrapper:
        assert inbox.wait("READY", "1")
        exe = f"/proc/{wrapper.target_pid}/exe"
        until(lambda: os.readlink(exe).endswith("/sleep"), "it became sleep, which was allowed")


@pytest.mark.slow
def test_the_jail_is_gone_from_the_wrappers_memory(inbox: Inbox):
    """It is made in the target's process: a wrapper beside a jailed target weighs no more."""

    def resident_kb(*options: str) -> int:
        with Wrapped(["sleep", "1000"], "--ready", "alive", *options, inbox=inbox) as wrapper:
            inbox.wait("READY", "1")
            return int(status_of(wrapper.pid, "VmRSS").split()[0])

    pairs = [(resident_kb("--jail"), resident_kb()) for _ in range(3)]
    assert min(jailed / bare for jailed, bare in pairs) < 1.06, pairs


def test_a_jail_in_the_environment_and_in_a_file_is_the_same(tmp_path: Path):
    """A drop-in can jail a service that is shipped without."""
    (tmp_path / "x.toml").write_text('jail = ["exec", "nofork"]\n')
    (tmp_path / "y.toml").write_text("jail = true\n")
    for options, env in (
        ((), {"NOTIFYWRAP_JAIL": "exec\nnofork"}),
        ((), {"NOTIFYWRAP_JAIL": "yes"}),
        (("--config", str(tmp_path / "x.toml")), {}),
        (("--config", str(tmp_path / "y.toml")), {}),
    ):
        done = subprocess.run(
            [REAL, "-c", START, *options, "--", "/bin/sh", "-c", "/bin/true"],
            env={**os.environ, **env}, capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        assert "ork" in done.stderr.splitlines()[1], done.stderr
        assert done.returncode != 0
