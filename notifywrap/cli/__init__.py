"""The door: command lines in, exit statuses out."""

from __future__ import annotations

__all__: list[str] = []
