"""What the tests under a systemd share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.testing.lab import Lab, unavailable
from tests.conftest import REPOSITORY
from tests.drill.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def place() -> Iterator[Place]:
    reason = unavailable()
    if reason is not None:
        pytest.skip(f"no systemd can be booted here: {reason}")
    with Lab(binds=[REPOSITORY]) as lab:
        yield Place(lab)
