"""`notifywrap harden`: finds the tightest sandbox under which a service still works, by trying.

The pure part decides (candidates, restructure, search, judgement, learned, dropin); the rest
performs (trial, runner, observe, watch, ...). What is tried is a copy of the service, never the one
that runs.
"""

from __future__ import annotations

__all__: list[str] = []
