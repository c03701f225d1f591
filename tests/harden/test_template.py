"""An instance of `notifywrap@.service`, whose command is in a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harden.conftest import harden

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.units.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(120)]

SETTINGS = """\
COMMAND=/usr/bin/python3 -m http.server --bind 127.0.0.1 8127
NOTIFYWRAP_PROBE=http://127.0.0.1:8127/
"""


def test_the_drill_knows_what_an_instance_starts(machine: Callable[..., Machine]) -> None:
    """`ExecStart=notifywrap -- $COMMAND` says nothing without EnvironmentFile=."""
    place = machine("notifywrap@")
    with place.edited("notifywrap/drilled.conf", SETTINGS):
        found = harden(place, "notifywrap@drilled.service", "--max-rounds", "1")
    assert 0 < found["drill"]["after"] <= found["drill"]["before"]
    assert found["exposure"]["after"] <= found["exposure"]["before"]
