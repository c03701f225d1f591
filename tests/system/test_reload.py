"""A reload is seen as one: RELOADING=1, then the target's SIGHUP, then READY=1 once it serves."""

from __future__ import annotations

import pytest
from hosts import SERVER, Host


def test_reload_is_over_when_the_target_serves_again(host: Host, port: str) -> None:
    """Who reloads and goes on at once would talk to a server that is not back yet."""
    host.start(["--probe", f"tcp:{port}"], [*SERVER, "--reload", "0.7", port], watchdog_s=30)
    wrapper = host.wrapper_pid
    host.kill("HUP")
    host.wait_state("reloading")
    host.wait_line(r"^reloading at")
    host.wait_active()
    host.wait_line(rf"reloading at [\d.]+\n(.*\n)*listening on {port}")
    assert host.restarts == 0
    assert host.wrapper_pid == wrapper


@pytest.mark.slow
def test_reload_does_not_stop_the_pings(host: Host, port: str) -> None:
    """The watchdog runs on during a reload, in systemd as in here."""
    target = [*SERVER, "--reload", "0", port]
    host.start(["--probe", f"tcp:{port}"], target, watchdog_s=1.0, restart="always")
    host.kill("HUP")
    host.wait_line("^reloading at")
    host.wait_fed_for(1.2)
    assert host.restarts == 0
    host.wait_active()


def test_target_without_a_handler_is_not_killed_by_a_reload(host: Host, port: str) -> None:
    """SIGHUP's default is death: `systemctl reload` of a daemon that knows none would end it."""
    host.start(["--probe", f"tcp:{port}"], [*SERVER, port], watchdog_s=1.0, restart="always")
    host.kill("HUP")
    host.wait_line("no handler for HUP")
    host.wait_fed_for(1.0)
    assert host.restarts == 0
    assert host.state == "active"
