"""For daemons written in Python: the truth about themselves, told to systemd."""

from __future__ import annotations

__all__: list[str] = []
