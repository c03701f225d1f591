"""A target in a jail is denied what was listed, and keeps the rest."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.jailed import INTRUDER, REAL, Jailed, start_of, without_map_files, x86_64
from tests.runtime.wrapped import START, Inbox, Wrapped, is_gone, run, status_of, until

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture
def neighbour() -> Iterator[int]:
    """A process of the same user that is in no jail, as an exec probe is."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    ("abi", "rules"),
    [
        (99, "nofork"),
        *(
            pytest.param(abi, rules, marks=pytest.mark.slow)
            for abi in (1, 2, 99)
            for rules in ("nofork", "nounix,nomemfd", "exec", "bind=0")
            if (abi, rules) != (99, "nofork")
        ),
    ],
)
def test_whatever_the_rules_a_neighbour_cannot_be_taken_over(rules: str, abi: int, neighbour: int):
    """Or the target would have an exec probe do what it is forbidden itself."""
    start = START if abi == 99 else start_of(abi)
    with Jailed(f"--jail={rules}", start=start) as jailed:
        for way in ("open_memory", "take_descriptor", "trace"):
            assert jailed.attempt(way, neighbour) in ("EACCES", "EPERM"), way
        for allowed in ("thread", "bind 0", "read /etc/passwd", "list /"):
            assert jailed.attempt(allowed) == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("rules", ["nofork", "bind=0"])
def test_the_wall_to_the_neighbours_is_all_that_it_takes(rules: str, tmp_path: Path):
    """nofork is not about files: what is executed, written and moved is as before; mount(2) and
    pivot_root(2) alone are not (landlock(7)), and help says so."""
    (tmp_path / "other").mkdir()
    with Jailed(f"--jail={rules}") as jailed:
        for words in (
            f"write {tmp_path}/x",
            f"rename {tmp_path}/x {tmp_path}/other/y",
            f"truncate {tmp_path}/other/y",
            f"remove {tmp_path}/other/y",
        ):
            assert jailed.attempt(words) == "ok", words
        jailed.attempt("exec", "/bin/true")
        assert jailed.end() == 0, "it has become true(1)"


def test_without_a_jail_the_same_attempts_succeed(listener: int, neighbour: int):
    """Or all the other tests would prove nothing."""
    attempts = ["fork", "spawn", "subprocess", "memfd", "unix", "unix_pair datagram", "bind 0",
                f"connect {listener}", f"connect_fast {listener}", f"kill {os.getpid()}",
                f"open_memory {neighbour}", f"take_descriptor {neighbour}", f"trace {neighbour}",
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
        assert jailed.attempt("listen_unbound") == "ok", "documented, too: nobody asks to bind"
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
    (tmp_path / "old").touch()
    with Jailed("--jail=nowrite") as jailed:
        assert jailed.attempt("write", tmp_path / "x") == "EACCES"
        assert jailed.attempt("write", tmp_path / "old") == "EACCES"
        assert jailed.attempt("read", "/etc/passwd") == "ok"
        # Documented: Landlock has no say in what is written about a file.
        assert jailed.attempt("chmod", tmp_path / "old") == "ok"
        assert jailed.attempt("touch", tmp_path / "old") == "ok"
        assert jailed.attempt("label", tmp_path / "old") in ("ok", "EOPNOTSUPP")


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


@pytest.mark.slow
def test_a_first_line_that_cannot_be_understood_is_named(tmp_path: Path):
    """env(1) unquotes, and fills in variables; what it will execute was not made executable."""
    script = tmp_path / "daemon"
    script.write_text("#!/usr/bin/env -S 'sh' -e\necho up\n")
    script.chmod(0o755)
    done = run("--jail=exec", "--ready", "alive", "--", str(script))
    assert f"cannot tell what {str(script)!r} executes by its first line" in done.stderr
    assert "add exec=PATH" in done.stderr
    assert (done.returncode, done.stdout) == (126, ""), "env cannot execute it"
    jail = f"--jail=exec={shutil.which('sh')}"
    done = run(jail, "--ready", "alive", "--", str(script))
    assert done.stdout == "up\n"
    assert "cannot tell" not in done.stderr


def test_a_program_that_needs_to_fork_says_so_itself():
    """The target's own log has the reason, in its own words."""
    done = run("--jail", "--ready", "alive", "--", "/bin/sh", "-c", "/bin/true")
    assert "fork" in done.stderr
    assert done.returncode != 0


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
            preexec_fn=without_map_files,
        )  # fmt: skip
        assert "ork" in done.stderr.splitlines()[1], done.stderr
        assert done.returncode != 0
