"""For tests of services: `lab` boots a real systemd for them.

Each module is imported by its own name, so that one that needs little costs little.
"""

from __future__ import annotations

__all__: list[str] = []
