"""The jail inside hardened units of a real systemd, and around real daemons."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hosts import PYTHON, TARGETS
from open_home import HOME, WRAPPER

from tests.system.daemons import (
    DAEMONS,
    first_replies,
    hang,
    main_pid,
    restarted_after,
    target_pid,
    wrap,
)
from tests.system.test_sandbox import EACH_USER, STRICT, USERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from systemd_host import SystemdHost

    from tests.conftest import Lab, Unit

pytestmark = pytest.mark.systemd

LANDLOCK = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
# As in a unit for production: what a wrapper and its jail have to work under.
HARDENED: dict[str, Any] = {
    **STRICT,
    "PrivateUsers": "yes",
    "StateDirectory": "jailed",
    "SystemCallFilter": ["@system-service", LANDLOCK, "~@privileged @resources @aio @keyring"],
    "SystemCallErrorNumber": "EPERM",
}
INTRUDER = (*PYTHON, f"{HOME}/intruder.py")


@pytest.fixture
def attempts(lab: Lab, home: None) -> Callable[..., dict[str, str]]:
    """`attempts("fork", ...)`: the settings that make the target try these, and stay."""
    shutil.copy(TARGETS / "intruder.py", lab.root / HOME[1:])

    def settings(*words: str) -> dict[str, str]:
        path = lab.root / HOME[1:] / "attempts"
        path.write_text("".join(f"{word}\n" for word in (*words, "say last", "stay")))
        for file in (path, path.with_name("intruder.py")):
            file.chmod(0o644)
        return {"StandardInput": f"file:{HOME}/attempts"}

    return settings


def outcomes(host: SystemdHost) -> list[str]:
    """What came of the attempts, in their order."""
    lines = host.unit.journal("-o", "cat").splitlines()
    found = [line.split()[0] for line in lines if re.match(r"ok |E[A-Z0-9]+$", line)]
    return found[:-1]  # without "say last"


@pytest.mark.parametrize("user", EACH_USER)
def test_the_jail_holds_in_a_hardened_unit(
    systemd: SystemdHost, attempts: Callable[..., dict[str, str]], user: str
) -> None:
    """systemd's directives cannot take python3 away from the target alone; the jail does."""
    tried = {
        "thread": "ok",
        "fork": "EPERM",
        "exec /bin/true": "EACCES",
        "memfd": "EPERM",
        "unix": "EAFNOSUPPORT",
        "unix_pair datagram": "EAFNOSUPPORT",
        "bind 0": "ok",
        "bind 18099": "EACCES",
        "connect 22": "EACCES",
        "read /etc/passwd": "EACCES",
        "read /dev/urandom": "ok",
        "write /var/lib/jailed/x": "ok",
        "write /tmp/x": "EACCES",
    }
    rules = f"strict,default,bind=0,noconnect,read={HOME},write=${{STATE_DIRECTORY}}"
    settings = {**HARDENED, **USERS[user], **attempts(*tried)}
    execute = f"{WRAPPER[0]} --jail={rules} --ready 'log:^ok.last$' -- {' '.join(INTRUDER)}"
    settings["ExecStart"] = execute
    started = systemd.start([], [], watchdog_s=5.0, **settings)
    assert started.ok, systemd.journal()
    assert dict(zip(tried, outcomes(systemd), strict=True)) == tried
    assert "not enforced" not in systemd.journal()


@pytest.mark.slow
@pytest.mark.parametrize("user", ["root", "nobody"])
@pytest.mark.parametrize("rules", ["nofork", "nounix,nomemfd", "bind=0", ""])
def test_an_exec_probe_outside_is_out_of_the_targets_reach(
    systemd: SystemdHost, attempts: Callable[..., dict[str, str]], user: str, rules: str
) -> None:
    """It is a process of the same user, in no jail: taken over, it does what the target may not."""
    settings = {**USERS[user], **attempts("take_over sleep")}
    options = ["--ready=log:^ok.last$", "--ready=exec:/bin/sleep 3", "--timeout=5"]
    options += [f"--jail={rules}"] if rules else []
    started = systemd.start(options, INTRUDER, wrapper=WRAPPER, **settings)
    assert started.ok, systemd.journal()
    (outcome,) = outcomes(systemd)
    assert outcome in (("EACCES", "EPERM") if rules else ("ok",))


@pytest.mark.slow
@pytest.mark.parametrize("user", ["nobody", "dynamic"])
@pytest.mark.parametrize(
    "more", [{"Personality": "x86"}, {"InaccessiblePaths": "/proc/sys -/etc/ld.so.cache"}]
)
def test_the_jail_is_as_strict_whatever_else_the_unit_says(
    systemd: SystemdHost, attempts: Callable[..., dict[str, str]], user: str, more: dict[str, str]
) -> None:
    """uname(2) says i686 then, or what nobody named cannot be looked at: no reason for less."""
    tried = {"fork": "EPERM", "unix": "EAFNOSUPPORT", "exec /bin/true": "EACCES", "memfd": "EPERM"}
    settings = {**more, **USERS[user], **attempts(*tried)}
    options = ["--jail=strict,default,nowrite,read=/opt,read=/usr", f"--jail=read={HOME}"]
    options += ["--ready=log:^ok.last$"]
    started = systemd.start(options, INTRUDER, wrapper=WRAPPER, **settings)
    assert started.ok, systemd.journal()
    assert dict(zip(tried, outcomes(systemd), strict=True)) == tried
    assert "not enforced" not in systemd.journal()


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"SystemCallErrorNumber": "EPERM"}], ids=["kills", "EPERM"])
def test_a_filter_that_forbids_landlock_is_named(
    systemd: SystemdHost, attempts: Callable[..., dict[str, str]], more: dict[str, str]
) -> None:
    """@system-service of systemd 252 has no landlock_...; whoever asks is killed by default."""
    tried = {"fork": "EPERM", "exec /bin/false/x": "ENOTDIR", "unix": "EAFNOSUPPORT"}
    settings: dict[str, Any] = {**STRICT, "DynamicUser": "yes", **more, **attempts(*tried)}
    options = ["--jail", "--ready", "log:^ok.last$"]
    started = systemd.start(options, INTRUDER, wrapper=WRAPPER, **settings)
    assert started.ok, systemd.journal()
    assert dict(zip(tried, outcomes(systemd), strict=True)) == tried
    systemd.wait_line("not enforced here: exec, taking over .*SystemCallFilter= of the unit forbid")
    systemd.unit.stop()
    options[0] = "--jail=strict"
    assert not systemd.start(options, INTRUDER, wrapper=WRAPPER, **settings).ok
    assert systemd.wait_end() == ("exit-code", "exited", 125)
    assert f"add {LANDLOCK} to the filter" in systemd.journal()


@pytest.mark.slow
def test_a_credential_of_systemd_reaches_the_target_alone(
    systemd: SystemdHost,
    lab: Lab,
    home: None,
) -> None:
    """LoadCredential= keeps it out of `systemctl show`; the wrapper must not undo that."""
    (lab.root / "root/secret").write_text("s3cret-of-the-unit\n")
    settings = {**HARDENED, "DynamicUser": "yes", "LoadCredential": "db-pass:/root/secret"}
    script = "test ${#DB_PASS} = 18 && echo has it; exec sleep 1000"
    options = ["--jail=default,exec=/bin/sleep", "--credential=db-pass", "--ready=log:^has.it$"]
    started = systemd.start(options, ["/bin/sh", "-c", script], wrapper=WRAPPER, **settings)
    assert started.ok, systemd.journal()
    assert "s3cret" not in lab.systemctl("show", systemd.unit.name).stdout
    assert b"s3cret" not in Path(f"/proc/{systemd.wrapper_pid}/environ").read_bytes()
    assert "s3cret" not in systemd.journal()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["traefik", "redis", "caddy", "nats", "prometheus", "gateway"])
def test_a_real_daemon_serves_in_a_bare_jail_and_a_hang_is_found(
    unit: Callable[..., Unit], tmp_path: Path, name: str
) -> None:
    """What is taken away must be what it does not need."""
    daemon = DAEMONS[name](tmp_path)
    if name == "redis":  # it would listen on an AF_UNIX socket, too
        command = daemon.command.replace(f"--unixsocket {tmp_path}/redis.sock", "")
        daemon = daemon._replace(command=command, probes=daemon.probes[:2])
    jail = "--jail=strict"
    probes = [word for probe in daemon.probes for word in ("--probe", probe)]
    daemon = daemon._replace(env=(*daemon.env, f"HOME={tmp_path}"))  # or Go asks getent(1) for it
    # Strict, so without what leads a root around it.
    capabilities = {"CapabilityBoundingSet": "~CAP_SYS_ADMIN CAP_CHECKPOINT_RESTORE"}
    one = unit(**wrap(daemon, jail, *probes), **capabilities, start=False)
    assert daemon.answer in first_replies(one, daemon, 1)[0]
    one.start()
    status = Path(f"/proc/{target_pid(one)}/status").read_text()
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t0" in Path(f"/proc/{main_pid(one)}/status").read_text()
    assert "nothing is executed but" in one.journal()
    since = hang(one)
    assert restarted_after(one, since) < 15
