"""What is concluded from a service's unit and its baseline."""

from __future__ import annotations

import os

import pytest

from notifywrap.cli.check import understand
from notifywrap.harden.facts import find_facts
from notifywrap.harden.model import Observation
from notifywrap.harden.sockets import PROXY
from notifywrap.harden.trial import Original
from notifywrap.unitfile.findings import Subject
from notifywrap.unitfile.unit import parse_unit

UNIT = "[Service]\nType=notify\nExecStart=/usr/local/bin/notifywrap --probe alive -- /bin/sleep 9\n"
SEEN = Observation(backends=("127.0.0.1:6379",))


@pytest.mark.skipif(not os.access(PROXY, os.X_OK), reason=f"no {PROXY} here")
@pytest.mark.parametrize(
    ("text", "seen", "is_offered"),
    [
        (UNIT, SEEN, True),
        (UNIT, SEEN._replace(backlogs=(("0.0.0.0:80", 128),)), True),  # systemd may bind it
        (UNIT, Observation(), False),
        (UNIT, SEEN._replace(peers=("10.0.0.1",)), False),
        (UNIT, SEEN._replace(backlogs=(("127.0.0.1:8080", 128),)), False),
        (f"[Unit]\nJoinsNamespaceOf=other.service\n{UNIT}", SEEN, False),
        (f"{UNIT}PrivateNetwork=yes\n", SEEN, True),  # and not tried, see candidates.py
    ],
    ids=["worker", "low port", "no backend", "other machine", "clients", "joins", "private"],
)
def test_who_gets_a_network_with_its_backends_alone(
    text: str, seen: Observation, is_offered: bool
) -> None:
    """Only who can do with it: what else it does on the network would be lost."""
    original = Original(Subject(parse_unit(text, "web.service"), understand))
    facts = find_facts(original, seen, (), is_filtered=False)
    assert bool(facts.backends) is is_offered
