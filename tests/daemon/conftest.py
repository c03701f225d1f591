"""What the tests of the library share."""

from __future__ import annotations

from tests.runtime.conftest import inbox

__all__ = ["inbox"]
