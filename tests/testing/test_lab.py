"""The lab itself: a systemd that behaves as systemd does, and is gone without a trace."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from notifywrap.testing.lab import Lab, LabError, LabUnavailable, unavailable

pytestmark = [pytest.mark.systemd, pytest.mark.usefixtures("lab")]

NOTIFIER = r"""
import os, signal, socket, sys

def notify(text):
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(text.encode(), "\0" + address[1:] if address[0] == "@" else address)

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
notify("READY=1\nSTATUS=fine, watchdog %s" % os.environ.get("WATCHDOG_USEC"))
print("ready", flush=True)
signal.sigwait({signal.SIGTERM})
print("stopped", flush=True)
"""

HARDENING = {
    "DynamicUser": "yes",
    "StateDirectory": "labtest",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "PrivateNetwork": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "SystemCallFilter": ["@system-service", "~@privileged @resources"],
    "SystemCallArchitectures": "native",
    "RestrictAddressFamilies": "AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "UMask": "0077",
}

INTRUDER = r"""
import ctypes, json, os, socket

def refused(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return type(error).__name__
    return "allowed"

status = dict(line.split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
print(json.dumps({
    "seccomp": status["Seccomp"].strip(), "no new privileges": status["NoNewPrivs"].strip(),
    "capabilities": int(status["CapBnd"], 16), "is root": os.getuid() == 0,
    "unshare": ctypes.CDLL(None).unshare(0x20000), "sees pid 1": os.path.exists("/proc/1/status"),
    "unix": refused(socket.socket, socket.AF_UNIX), "inet": refused(socket.socket, socket.AF_INET),
    "etc": refused(open, "/etc/labtest", "w"), "home": refused(os.listdir, "/home"),
    "state": refused(open, os.environ["STATE_DIRECTORY"] + "/file", "w"),
}))
"""


def write_script(lab: Lab, name: str, text: str) -> str:
    """The program's command line; /opt because a hardened service has its own /tmp."""
    path = lab.root / "opt/labtest" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return f"/usr/bin/python3 /opt/labtest/{name}"


def traces(lab_name: str) -> list[str]:
    """What of a lab the host can still see: cgroup, processes, mounts, files named after it."""
    found = []
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for words in mounts:
        if "cgroup2" in words and words[3] == "/":
            found += [str(p) for p in Path(words[4]).rglob(f"notifywrap-lab.{lab_name}*")]
    found += [words[4] for words in mounts if lab_name in " ".join(words)]
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if lab_name.encode() in status.read_bytes():
                found.append(str(status))
        except OSError:
            pass  # it has just ended
    for directory in ("/run", "/tmp", "/var/tmp"):
        found += [str(p) for p in Path(directory).glob(f"*{lab_name}*")]
    return found


def all_end(pidfds: list[int], limit_s: float = 10.0) -> bool:
    deadline = time.monotonic() + limit_s
    return all(select.select([fd], [], [], deadline - time.monotonic())[0] for fd in pidfds)


def wait_until(is_so, limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {limit_s:g} s"


def test_up_is_quick_and_down_leaves_nothing():
    """It is booted for a single test too, so it has to cost less than the test."""
    started = time.monotonic()
    with Lab() as other:
        name = other.run("hostname").stdout.strip()
        up_s = time.monotonic() - started
        assert traces(name) != []
        pidfd = os.pidfd_open(other.pid)
    assert up_s < 2.0
    assert all_end([pidfd])
    assert traces(name) == []
    with pytest.raises(LabError, match="is not up"):
        other.run("true")


def test_run_returns_output_and_status(lab):
    """Every other test stands on this."""
    done = lab.run("sh", "-c", "cat; echo err >&2; pwd; exit 7", input="in\n")
    assert (done.returncode, done.stdout) == (7, "in\nerr\n/\n")
    assert lab.run("sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    assert lab.run("sh", "-c", "echo $X$PYTHONPATH", env={"X": "1"}).stdout == "1\n"
    assert lab.run("no-such-command").returncode == 127
    with pytest.raises(LabError, match=r"'false' ended with 1"):
        lab.run("false", check=True)


def test_run_kills_at_its_timeout(lab):
    """What a timed out command started must not go on beside the next test."""
    with pytest.raises(subprocess.TimeoutExpired):
        lab.run("sh", "-c", "sleep 4242 & sleep 4242", timeout_s=0.2)
    wait_until(lambda: "4242" not in lab.run("sh", "-c", "cat /proc/[0-9]*/cmdline").stdout)


def test_ready_status_and_journal(lab, unit):
    """systemctl start returns with READY=1 and the status text is systemd's."""
    service = unit(
        Type="notify", ExecStart=write_script(lab, "notifier.py", NOTIFIER), WatchdogSec="20s"
    )
    seen = service.show("ActiveState", "SubState", "StatusText")
    assert seen == {
        "ActiveState": "active",
        "SubState": "running",
        "StatusText": "fine, watchdog 20000000",
    }
    assert len(service.pids()) == 1
    service.stop()
    assert service.pids() == []
    assert "stopped" in service.journal()


def test_watchdog_fires(lab, unit):
    """The timer that everything here is about is systemd's own."""
    service = unit(
        Type="notify", ExecStart=write_script(lab, "notifier.py", NOTIFIER), WatchdogSec="300ms"
    )
    service.wait(ActiveState="failed", Result="watchdog")
    assert "Watchdog timeout" in service.journal()


def test_wait_says_what_it_saw_instead(lab, unit):
    """A failed wait is read in a log, far from the lab that is gone by then."""
    service = unit(Type="oneshot", RemainAfterExit="yes", ExecStart="/bin/echo hello there")
    with pytest.raises(LabError, match=r"(?s)'ActiveState': 'active'.*hello there"):
        service.wait(timeout_s=0.1, ActiveState="failed")


def test_hardening_is_really_applied(lab, unit):
    """A systemd without libseccomp, or in a wrong box, ignores directives and says nothing."""
    service = unit(
        Type="oneshot",
        RemainAfterExit="yes",
        ExecStart=write_script(lab, "intruder.py", INTRUDER),
        **HARDENING,
    )
    told = next(line for line in service.journal().splitlines() if line.startswith("{"))
    assert json.loads(told) == {
        "seccomp": "2",
        "no new privileges": "1",
        "capabilities": 0,
        "is root": False,
        "unshare": -1,
        "sees pid 1": False,
        "unix": "allowed",
        "inet": "OSError",
        "etc": "OSError",
        "home": "PermissionError",
        "state": "allowed",
    }
    assert "ignoring" not in service.journal()
    assert not Path("/var/lib/private/labtest").exists(), "the host's /var was written to"


def test_credentials_reach_a_service(lab, unit):
    """LoadCredential= fails in a box whose mounts are private."""
    (lab.root / "opt/secret").write_text("sesame")
    service = unit(
        Type="oneshot",
        RemainAfterExit="yes",
        LoadCredential="key:/opt/secret",
        DynamicUser="yes",
        ExecStart="/bin/sh -c 'cat $CREDENTIALS_DIRECTORY/key'",
    )
    assert "sesame" in service.journal()


def test_two_labs_share_nothing():
    """Test processes run side by side, and use the same ports and unit names."""

    def serve(lab: Lab) -> None:
        server = "/usr/bin/python3 -m http.server -b 127.0.0.1 8000"
        lab.install("web.service", f"[Service]\nExecStart={server}\n")
        lab.systemctl("start", "web.service", check=True)
        wait_until(lambda: "0100007F:1F40" in lab.run("cat", "/proc/net/tcp").stdout)

    with Lab() as one, Lab() as two, ThreadPoolExecutor() as pool:
        list(pool.map(serve, (one, two)))
        assert one.show("web.service", "ActiveState") == {"ActiveState": "active"}
        assert two.show("web.service", "ActiveState") == {"ActiveState": "active"}
        assert one.run("hostname").stdout != two.run("hostname").stdout


OWNER = """
import sys, time
from notifywrap.testing.lab import Lab
lab = Lab().up()
lab.popen("sleep", "1000")
print(lab.run("hostname").stdout.strip(), lab.pid, lab._keeper.pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def owner():
    """Another process with a lab: (process, lab's name, [pidfds of the lab and its keeper])."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    name, *pids = process.stdout.readline().split()
    pidfds = [os.pidfd_open(int(pid)) for pid in pids]
    yield process, name, pidfds
    process.kill()
    process.communicate()
    for fd in pidfds:
        os.close(fd)


def test_kill_of_the_owner_leaves_nothing(owner):
    """A test run ends by kill -9 often: an impatient developer, a CI limit, out of memory."""
    process, name, pidfds = owner
    process.kill()
    process.wait()
    assert all_end(pidfds)
    assert traces(name) == []


def test_kill_of_the_keeper_leaves_no_process(owner):
    """Then the kernel ends the lab; the empty cgroup is removed by the next one that is booted."""
    _, name, pidfds = owner
    signal.pidfd_send_signal(pidfds[1], signal.SIGKILL)
    assert all_end(pidfds)
    with Lab():
        assert [trace for trace in traces(name) if "cgroup" in trace] == []


def test_bind_shows_live_files(tmp_path):
    """A source tree is edited, and coverage data written, while the lab is up."""
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "file").write_text("old")
    with Lab(binds=[f"{tmp_path}:/opt/here:rw", tmp_path / "dir"]) as lab:
        (tmp_path / "dir" / "file").write_text("new")
        assert lab.run("cat", tmp_path / "dir" / "file").stdout == "new"
        assert lab.run("sh", "-c", f"echo x >{tmp_path}/dir/file").returncode != 0
        lab.run("sh", "-c", "echo inside >/opt/here/written", check=True)
    assert (tmp_path / "written").read_text() == "inside\n"


def test_a_tree_without_systemd_is_no_lab(tmp_path):
    """The reason is printed beside the skip, so it has to say what to do."""
    (tmp_path / "usr").mkdir()
    assert "no systemd in" in unavailable(tmp_path)
    with pytest.raises(LabUnavailable, match="apt-get install systemd"):
        Lab(rootfs=tmp_path).up()
