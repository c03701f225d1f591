"""The sd_notify protocol: the datagram (`wire`), sending it (`notify`), WATCHDOG_USEC (`grant`)."""

from __future__ import annotations

__all__: list[str] = []
