"""The shell around the machine: waits, forks, signals, sends. It performs and never decides."""

from __future__ import annotations

__all__: list[str] = []
