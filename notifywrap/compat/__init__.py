"""The faces of other libraries, over notifywrap: switch by changing an import."""

from __future__ import annotations

__all__: list[str] = []
