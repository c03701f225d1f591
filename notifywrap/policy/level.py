"""How much a journal line weighs. Apart from the events: it is known before there are any."""

from __future__ import annotations

from notifywrap.lean import Enum

__all__ = ["Level"]


class Level(Enum):
    """Weight of a journal line; the values are syslog's (sd-daemon(3))."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7
