"""units/prometheus, copied into /etc as it stands, around Debian's Prometheus."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.system.daemons import hang, program, restarted_after, until
from tests.units.promises import QUICK, assert_unprivileged, was_ended_by_watchdog
from tests.units.table import assert_as_in_readme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Unit
    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

UNIT = "prometheus.service"
SETTINGS = "prometheus/prometheus.yml"
URL = "http://127.0.0.1:9090"
# It asks itself, as often as is needed to see that quickly.
EAGER = """\
global: {scrape_interval: 100ms, external_labels: {edition: second}}
scrape_configs:
  - job_name: itself
    static_configs: [{targets: ["localhost:9090"]}]
"""


@pytest.fixture(scope="module")
def place(machine: Callable[..., Machine]) -> Machine:
    program("prometheus")
    return machine("prometheus")


@pytest.fixture(scope="module")
def service(place: Machine) -> Iterator[Unit]:
    """Prometheus, running: the tests leave it so."""
    with place.edited(f"systemd/system/{UNIT}.d/quick.conf", QUICK), place.started(UNIT) as unit:
        unit.start()
        yield unit


def ask(place: Machine, query: str) -> list[str]:
    """The values that a query finds."""
    reply = place.ask("get", f"{URL}/api/v1/query?query={quote(query)}")
    assert reply.get("status") == 200, reply
    return [each["value"][1] for each in json.loads(reply["body"])["data"]["result"]]


def test_check_and_verify_find_nothing(place: Machine) -> None:
    """Units that we ship are what people will copy."""
    assert place.check(UNIT) == ""


def test_the_first_query_after_each_start_is_answered(place: Machine) -> None:
    """/-/ready is 503 until the data has been read: whoever is ordered After= can ask at once."""
    with place.started(UNIT) as unit:
        assert place.ask("first", UNIT, 3, f"{URL}/api/v1/query?query=1") == {"200": 3}
        unit.wait(ActiveState="inactive", Result="success")
        assert unit.pids() == []


def test_it_has_no_privilege(service: Unit) -> None:
    """The package's user, and no more than that."""
    assert_unprivileged(service)
    assert service.show("User") == {"User": "prometheus"}


def test_clients_that_come_by_ipv6_are_served(place: Machine, service: Unit) -> None:
    """Go binds port 0 to see whether there is IPv6: where the jail forbids that it listens on IPv4
    alone, and says nothing."""
    assert place.ask("get", "http://[::1]:9090/-/ready").get("status") == 200


def test_it_asks_keeps_and_answers(place: Machine, service: Unit) -> None:
    """All of its work in the sandbox: names, connections, files; and new settings by reload."""
    with place.edited(SETTINGS, EAGER):
        assert place.lab.systemctl("reload", UNIT).returncode == 0, service.journal()
        assert "edition: second" in place.ask("get", f"{URL}/api/v1/status/config")["body"]
        until(lambda: ask(place, 'up{job="itself"}') == ["1"], 20.0)
    assert place.lab.systemctl("reload", UNIT).returncode == 0
    assert "edition: second" not in place.ask("get", f"{URL}/api/v1/status/config")["body"]
    assert service.show("NRestarts") == {"NRestarts": "0"}


def test_a_reload_with_a_mistake_fails_and_changes_nothing(place: Machine, service: Unit) -> None:
    """Prometheus alone would say so in its log, where nobody looks, and systemctl would say yes."""
    before = place.ask("get", f"{URL}/api/v1/status/config")["body"]
    with place.edited(SETTINGS, "global: {scrape_interval: soon}\n"):
        assert place.lab.systemctl("reload", UNIT).returncode != 0
    assert place.ask("get", f"{URL}/api/v1/status/config")["body"] == before
    assert service.show("ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}


def test_names_are_found_where_resolv_conf_is_a_link_into_run(
    place: Machine, service: Unit
) -> None:
    """systemd-resolved's way: denied that file, a Go program asks a server that is not there."""
    stub = place.root / "run/systemd/resolve/stub-resolv.conf"
    resolv = place.root / "etc/resolv.conf"
    before = resolv.read_text() if resolv.exists() else None
    stub.parent.mkdir(exist_ok=True)
    stub.write_text("nameserver 127.7.7.7\n")
    resolv.unlink(missing_ok=True)
    resolv.symlink_to("../run/systemd/resolve/stub-resolv.conf")
    try:
        settings = EAGER.replace("localhost:9090", "host.example:1")
        with place.edited(SETTINGS, settings):
            assert place.lab.systemctl("restart", UNIT).returncode == 0, service.journal()
            targets = ("get", f"{URL}/api/v1/targets")
            until(lambda: "lookup host.example" in place.ask(*targets)["body"], 20.0)
            assert "host.example on 127.7.7.7:53" in place.ask(*targets)["body"]
    finally:
        resolv.unlink()
        if before is not None:
            resolv.write_text(before)
    assert place.lab.systemctl("restart", UNIT).returncode == 0


def test_what_an_intruder_could_do(place: Machine, service: Unit) -> None:
    """The numbers of the README's table."""
    left = {"write state dir", "write acme.json", "start a thread", "socket AF_INET"}
    left |= {"connect backend", "connect other local port", "read /etc/passwd"}
    assert_as_in_readme(place, UNIT, "prometheus", left)


def test_a_hang_is_acted_on(place: Machine, service: Unit) -> None:
    """Prometheus never pings systemd itself."""
    restarted_after(service, hang(service))
    assert was_ended_by_watchdog(service), service.journal()
    assert ask(place, "vector(7)") == ["7"]
