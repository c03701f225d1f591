"""Unit files: read as systemd reads them, judged, and written."""

from __future__ import annotations

__all__: list[str] = []
