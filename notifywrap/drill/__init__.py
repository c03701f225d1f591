"""What could an intruder in this service do? Tries it in the service's own sandbox, and counts."""

from __future__ import annotations

__all__: list[str] = []
