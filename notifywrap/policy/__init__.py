"""Decisions only: what is asked for (`Spec`) and what happened (`events`) become actions. No
clock, no I/O."""

from __future__ import annotations

__all__: list[str] = []
