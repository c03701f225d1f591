"""Single options under the real systemd: what its user sees of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hosts import OBEY, PYTHON, SERVER, TARGETS, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from systemd_host import SystemdHost

pytestmark = pytest.mark.systemd

LEAKY = (*PYTHON, str(TARGETS / "leaky.py"))


def test_start_timeout_ends_with_125_and_the_unit_says_what_was_missing(
    systemd: SystemdHost, port: str, name: str
) -> None:
    """Its owner looks at `systemctl status` in the morning; nothing runs any more by then."""
    options = ["--start-timeout", "500ms", "--kill-after", "200ms", "--ready", f"tcp:{port}"]
    started = systemd.start(options, [*OBEY, name, "TERM="])
    assert not started.ok
    assert systemd.wait_end() == Outcome("exit-code", "exited", 125)
    assert "not ready after" in systemd.status
    assert f"waiting for tcp:{port}: " in systemd.status
    assert "got TERM" in systemd.journal()
    assert "did not stop in time, killing it" in systemd.journal()
    assert systemd.pids() == []


def test_stable_for_waits_until_probes_have_kept_passing(systemd: SystemdHost, name: str) -> None:
    """Some daemons open their port and think better of it a moment later."""
    options = ["--ready", f"unix:{name}", "--stable-for", "1500ms"]
    systemd.start(options, [*SERVER, name], wait=False)
    systemd.wait_status("passing, for 1.5 s on end")
    assert systemd.state == "activating"
    systemd.wait_active()


def test_fail_after_does_not_wait_for_the_watchdog(systemd: SystemdHost, name: str) -> None:
    """WatchdogSec= has to be long for a slow machine; two failed rounds may be enough all the
    same."""
    options = ["--probe", f"unix:{name}", "--fail-after", "2", "--period", "200ms"]
    assert systemd.start(options, [*SERVER, name], watchdog_s=120.0).ok
    systemd.signal_target("USR1")  # deaf: it lives on, and accepts no more
    assert systemd.wait_end().result == "watchdog"
    systemd.wait_line(r"2 rounds failed in a row \(--fail-after\)")
    assert "it was unhealthy" in systemd.status


def test_map_signal_makes_a_stop_what_the_daemon_understands(
    systemd: SystemdHost, name: str
) -> None:
    """nginx finishes its requests at QUIT, and drops them at TERM."""
    options = ["--ready", f"listen:{name}", "--map-signal", "TERM=QUIT"]
    assert systemd.start(options, [*OBEY, name, "QUIT=0", "TERM=3"]).ok
    assert systemd.stop() == Outcome("success", "exited", 0)
    assert "got TERM" not in systemd.journal()


def test_own_ready_alone_asks_for_no_pings(systemd: SystemdHost) -> None:
    """Most daemons that say READY=1 never ping: they would be restarted for ever."""
    target = ["/bin/sh", "-c", "systemd-notify --ready; exec sleep 1000"]
    assert systemd.start(["--ready", "notify"], target, watchdog_s=1.0).ok, systemd.journal()
    systemd.wait_fed_for(1.5)


def test_http_on_a_unix_socket_is_asked_as_on_any_other(
    systemd: SystemdHost, tmp_path: Path
) -> None:
    """An application server behind nginx has no port of its own."""
    path = str(tmp_path / "app.sock")
    probe = f"http+unix://{path.replace('/', '%2F')}/health"
    target = [*SERVER, "--speaks", "http", "--fault", "sick", path]
    options = ["--probe", probe]
    assert systemd.start(options, target, watchdog_s=1.0).ok, systemd.journal()
    systemd.wait_fed_for(0.5)
    systemd.signal_target("USR1")
    systemd.wait_status("unhealthy: .*HTTP 500")
    assert systemd.wait_end().result == "watchdog"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("probe", "what"), [("rss:60M", "memory"), ("fds:50", "descriptors")], ids=str
)
def test_a_leak_is_a_restart(systemd: SystemdHost, probe: str, what: str) -> None:
    """Before the machine has no memory, or the daemon no descriptors, for anybody."""
    options = ["--ready", "log:^ready$", "--live", probe]
    started = systemd.start(options, [*LEAKY, what], watchdog_s=1.0, LimitNOFILE="128")
    assert started.ok, systemd.journal()
    systemd.wait_fed_for(0.5)
    systemd.signal_target("USR1")
    systemd.wait_status(f"unhealthy: {probe}")
    assert systemd.wait_end().result == "watchdog"
