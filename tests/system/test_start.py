"""READY=1 means that the target serves; what keeps it from that is said, and mirrored."""

from __future__ import annotations

import pytest
from hosts import OBEY, SERVER, Host, Outcome

SOON_S = 0.5  # an idle machine takes some milliseconds


@pytest.mark.slow
def test_start_returns_when_the_target_listens_and_not_before(host: Host, port: str) -> None:
    """Units ordered after this one count on it: they connect at once."""
    started = host.start(["--probe", f"tcp:{port}"], [*SERVER, "--after", "3", port])
    listening_at = float(host.wait_line(rf"listening on {port} at ([\d.]+)")[1])
    assert started.ok
    assert started.took_s >= 3.0
    assert 0 <= host.active_at - listening_at < SOON_S, host.journal()


@pytest.mark.parametrize("probe", ["listen", "tcp", "unix", "http", "nothing"])
def test_every_kind_of_probe_waits_for_the_socket(
    host: Host, port: str, name: str, probe: str
) -> None:
    """Whatever names the socket, and without a name too, READY=1 comes after it and soon after."""
    address = name if probe == "unix" else port
    speaks = "http" if probe == "http" else "echo"
    kinds = {
        "listen": [f"listen:{port}"],
        "tcp": [f"tcp:{port}"],
        "unix": [f"unix:{name}"],
        "http": [f"http://127.0.0.1:{port}/"],
        "nothing": [],
    }
    options = [word for text in kinds[probe] for word in ("--probe", text)]
    assert host.start(options, [*SERVER, "--after", "0.2", "--speaks", speaks, address]).ok
    listening_at = float(host.wait_line(rf"listening on {address} at ([\d.]+)")[1])
    assert 0 <= host.active_at - listening_at < SOON_S, host.journal()


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("exit 3", Outcome("exit-code", "exited", 3)),
        ("exit 255", Outcome("exit-code", "exited", 255)),
        ("kill -SEGV $$", Outcome("signal", "killed", 11)),
        ("kill -KILL $$", Outcome("signal", "killed", 9)),
    ],
)
def test_target_that_dies_before_ready_gives_its_own_end_at_once(
    host: Host, port: str, script: str, outcome: Outcome
) -> None:
    """Not Result=protocol or timeout, and not after TimeoutStartSec: the admin sees what it was."""
    started = host.start(["--probe", f"tcp:{port}"], ["/bin/sh", "-c", f"sleep 0.2; {script}"])
    assert not started.ok
    assert started.took_s < 3.0
    assert host.wait_end() == outcome
    assert "before it was ready" in host.status
    assert host.pids() == []


@pytest.mark.parametrize("probe", ["listen", pytest.param("tcp", marks=pytest.mark.slow)])
def test_target_is_not_ready_while_somebody_else_holds_its_port(
    host: Host, port: str, probe: str
) -> None:
    """A stale process on the port answers every naive check, and the new target serves nobody.

    Once the other one has gone and the target has the port, it is ready.
    """
    host.run_outside([*SERVER, port])
    host.start(["--probe", f"{probe}:{port}"], [*SERVER, "--stubborn", port], wait=False)
    host.wait_line("cannot listen")
    host.wait_status(rf"waiting for {probe}:{port}.*held by another process \(pid \d+ python3")
    assert host.state == "activating"
    host.end_outside()
    host.signal_target("USR2")  # it tries again
    host.wait_active()


@pytest.mark.slow
def test_zero_config_says_what_to_add_for_a_target_without_sockets(host: Host, port: str) -> None:
    """It goes by the target's own sockets, whoever else listens; without any it never is ready.

    The admin must learn why.
    """
    host.run_outside([*SERVER, port])
    host.start([], [*SERVER, "--stubborn", port], wait=False)
    host.wait_line("cannot listen")
    host.wait_status("no socket.*--ready")
    assert host.state == "activating"


def test_zero_config_waits_for_the_second_of_two_ports(
    host: Host, port: str, another_port: str
) -> None:
    """The first one may be an admin port, and the one that matters opens a moment later."""
    assert host.start([], [*SERVER, "--after", "0.3", "--between", "0.15", port, another_port]).ok
    second_at = float(host.wait_line(rf"listening on {another_port} at ([\d.]+)")[1])
    assert host.active_at >= second_at
    assert port in host.status
    assert another_port in host.status
    assert "--probe" in host.status, "that it is a guess, and how to name the one that matters"


def test_status_says_what_is_waited_for(host: Host, port: str) -> None:
    """`systemctl status` during a slow start is the first thing that anybody looks at."""
    host.start(["--probe", f"http://127.0.0.1:{port}/"], ["/bin/sleep", "infinity"], wait=False)
    host.wait_status(rf"starting: waiting for http://127.0.0.1:{port}/.*refused")


def test_status_of_a_ready_service_says_what_is_watched(host: Host, port: str) -> None:
    """That is the promise which the watchdog keeps from now on."""
    probe = f"http://127.0.0.1:{port}/"
    host.start(["--probe", probe], [*SERVER, "--speaks", "http", port])
    host.wait_status(rf"ready after .*, watching {probe}")


@pytest.mark.slow
def test_all_ready_probes_must_pass(host: Host, port: str, another_port: str) -> None:
    """One of two ports is half a service."""
    probes = ["--ready", f"listen:{port}", "--ready", f"listen:{another_port}"]
    host.start(probes, [*SERVER, "--between", "1.3", port, another_port], wait=False)
    host.wait_status(rf"waiting for listen:{another_port}")
    host.wait_active()
    second_at = float(host.wait_line(rf"listening on {another_port} at ([\d.]+)")[1])
    assert host.active_at >= second_at


@pytest.mark.slow
def test_start_that_times_out_leaves_nothing(host: Host, port: str) -> None:
    """TimeoutStartSec= is systemd's own: the wrapper passes the TERM on and is gone."""
    started = host.start(
        ["--probe", f"tcp:{port}"], ["/bin/sleep", "infinity"], start_timeout_s=1.0
    )
    assert not started.ok
    assert host.wait_end() == Outcome("timeout", "killed", 15)
    assert host.pids() == []


@pytest.mark.slow
def test_stop_while_starting_is_clean(host: Host, port: str, name: str) -> None:
    """The target gets its TERM then as well, and its end is no failure."""
    probes = ["--ready", f"listen:{name}", "--ready", f"tcp:{port}"]
    host.start(probes, [*OBEY, name, "TERM=0"], wait=False)
    host.wait_status(rf"waiting for tcp:{port}")  # the other one has passed
    assert host.stop() == Outcome("success", "exited", 0)
    assert "got TERM" in host.journal()
    assert host.pids() == []
