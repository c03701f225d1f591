"""notifywrap: any daemon becomes a Type=notify service with a watchdog that means something."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
