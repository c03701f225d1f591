"""What has become of one service so far, as its manager knows it, and waiting for what is to come.

Whatever is read or waited for here takes first what has been said already: a test that has just
said something in its own process finds it.
"""

from __future__ import annotations

import re
import threading
import time
from itertools import groupby
from typing import TYPE_CHECKING

from notifywrap.testing.timeline import Event, ManagerError, Received

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.testing.rules import Unit
    from notifywrap.testing.states import Result, Sub

__all__ = ["Story"]

_LINES_TOLD = 100  # the last ones of a timeline: a service may have pinged for hours


class Story:
    """Every attribute may be read at any time and from any thread. Moments are in seconds since the
    service was started."""

    _unit: Unit

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._timeline: list[Event] = []
        self._messages: list[Received] = []
        self._pings: list[float] = []
        self._trouble = ""

    def _catch_up(self) -> None:
        """Take what has been said by now; *_changed* is held."""
        raise NotImplementedError

    # --- questions ----------------------------------------------------------------------------

    @property
    def timeline(self) -> list[Event]:
        """All that has happened; it only grows."""
        with self._changed:
            self._catch_up()
            return self._timeline

    @property
    def messages(self) -> list[Received]:
        """The notifications that have come, those that did not count as well; it only grows."""
        with self._changed:
            self._catch_up()
            return self._messages

    @property
    def pings(self) -> list[float]:
        """The moments of each WATCHDOG=1 that counted; it only grows."""
        with self._changed:
            self._catch_up()
            return self._pings

    @property
    def state(self) -> str:
        """activating, active, reloading, deactivating, inactive or failed: ActiveState."""
        with self._changed:
            self._catch_up()
            return self._unit.active_state

    @property
    def sub(self) -> Sub:
        """SubState."""
        with self._changed:
            self._catch_up()
            return self._unit.sub

    @property
    def status(self) -> str:
        """The STATUS text that `systemctl status` would show."""
        with self._changed:
            self._catch_up()
            return self._unit.status

    @property
    def ready_s(self) -> float | None:
        """Seconds from start to READY=1; None as long as it was not said."""
        with self._changed:
            self._catch_up()
            ready_at = self._unit.ready_at
            return None if ready_at is None else ready_at - self._unit.started_at

    @property
    def silence_s(self) -> float | None:
        """Seconds since the watchdog was last fed; None while it is off."""
        with self._changed:
            self._catch_up()
            unit = self._unit
            if unit.watchdog_deadline is None or unit.armed_at is None:
                return None
            return time.monotonic() - unit.armed_at

    @property
    def largest_gap_s(self) -> float:
        """The longest time between two feedings of the watchdog that is over, in seconds."""
        with self._changed:
            self._catch_up()
            return self._unit.largest_gap_s

    @property
    def watchdog_gap(self) -> float:
        """The longest time for which the watchdog was on and not fed, until now, in seconds.

        From READY=1 to the first ping, from ping to ping, and from the last one to this moment or
        to the end of the watchdog. 0.0 where it never was on.
        """
        with self._changed:
            silence_s = self.silence_s or 0.0
            return max(self._unit.largest_gap_s, silence_s)

    @property
    def watchdog_fired(self) -> bool:
        """Whether systemd would have acted for want of a ping, or on WATCHDOG=trigger."""
        return any(event.what == "watchdog" for event in list(self.timeline))

    @property
    def ended(self) -> bool:
        """Whether it is over and no process is left."""
        with self._changed:
            return self._unit.ended or bool(self._trouble)

    @property
    def result(self) -> Result:
        """How it ended, or what is known of it so far."""
        with self._changed:
            self._catch_up()
            return self._unit.outcome

    def tell(self) -> str:
        """The timeline as text, one event a line; of equal ones in a row the first and the last."""
        lines: list[str] = []
        for _, alike in groupby(list(self.timeline), lambda event: (event.what, event.text)):
            events = list(alike)
            lines.append(_line(events[0]))
            lines += [f"      ... {len(events) - 2} times more"] if len(events) > 2 else []
            lines += [_line(events[-1])] if len(events) > 1 else []
        left_out = max(0, len(lines) - _LINES_TOLD)
        head = [f"      ... {left_out} lines before"] if left_out else []
        return "\n".join([*head, *lines[left_out:]])

    # --- waiting ------------------------------------------------------------------------------

    def wait_for(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Returns as soon as *condition* holds after an event.

        Raises ManagerError when that takes longer than *timeout_s*, or cannot come any more.
        """
        __tracebackhide__ = True  # pytest then shows the line that has waited
        with self._changed:
            self._changed.wait_for(lambda: condition() or self.ended, timeout_s)
            if not condition():
                why = self._trouble or (
                    f"it ended before ({self.result})" if self.ended else f"{timeout_s:g} s passed"
                )
                raise ManagerError(f"waited for {what}: {why}\n{self.tell()}")

    def wait_ready(self, timeout_s: float) -> float:
        """Waits for READY=1; returns how long after the start it came, in seconds."""
        __tracebackhide__ = True
        self.wait_for(lambda: self.ready_s is not None, timeout_s, "READY=1")
        return self.ready_s or 0.0

    def wait_status(self, pattern: str, timeout_s: float) -> str:
        """Waits for a STATUS in which the regular expression *pattern* is found; returns the text.

        It is the present one or one that comes, though it may be replaced at once.
        """
        __tracebackhide__ = True
        found: list[str] = []
        before = len(self.messages)
        now = self.status

        def is_found() -> bool:
            said = (one.message.get("STATUS") for one in self.messages[before:] if one.counted)
            found[:] = [text for text in (now, *said) if text and re.search(pattern, text)]
            return bool(found)

        self.wait_for(is_found, timeout_s, f"a STATUS with {pattern!r}")
        return found[0]

    def wait_pings(self, count: int, timeout_s: float) -> None:
        """Waits until it has pinged *count* times more from now on."""
        __tracebackhide__ = True
        enough = len(self.pings) + count
        self.wait_for(lambda: len(self.pings) >= enough, timeout_s, f"{count} more pings")

    def wait_stopping(self, timeout_s: float) -> float:
        """Waits for STOPPING=1; returns the moment at which it was first said."""
        __tracebackhide__ = True

        def moments() -> list[float]:
            return [
                one.at_s for one in self.messages if one.counted and one.message.has("STOPPING")
            ]

        self.wait_for(lambda: bool(moments()), timeout_s, "STOPPING=1")
        return moments()[0]

    def wait_watchdog(self, timeout_s: float) -> float:
        """Waits until the watchdog has fired; returns the moment."""
        __tracebackhide__ = True
        self.wait_for(lambda: self.watchdog_fired, timeout_s, "the watchdog to fire")
        return next(event.at_s for event in self.timeline if event.what == "watchdog")

    def wait_ended(self, timeout_s: float) -> Result:
        """Waits until no process of the service is left."""
        __tracebackhide__ = True
        self.wait_for(lambda: self._unit.ended, timeout_s, "the end")
        return self.result


def _line(event: Event) -> str:
    return f"{event.at_s:9.3f} {event.what} {event.text}"
