"""How `notifywrap try` looks: a line for each event, on a terminal a live line, a summary."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, TextIO

from notifywrap.policy.duration import format_duration
from notifywrap.protocol.wire import clean
from notifywrap.testing.timeline import describe_end

if TYPE_CHECKING:
    from notifywrap.testing.manager import Manager
    from notifywrap.testing.timeline import Event

__all__ = ["View"]

_RED, _GREEN, _YELLOW, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
_ERASE = "\r\x1b[K"
_OURS = b">notifywrap: "  # behind "<N": a line of the wrapper's journal among the target's output
_LINE_LIMIT = 4096  # bytes of an unfinished line that may still turn out to be the wrapper's
_SAMPLE_S = 2.0  # how often the target's memory is looked up: some 100 us per process
_LEVEL_COLOURS = {**dict.fromkeys((b"0", b"1", b"2", b"3"), _RED), b"4": _YELLOW}
_COLOURS = {"active": _GREEN, "watchdog": _RED, "timeout": _RED, "ignored": _YELLOW}


class View:
    """Writes to *out*. Colour and the live line only where it is a terminal that can do it.

    watchdog_s  W, what the gaps between pings are measured against; None for no watchdog
    """

    def __init__(self, out: TextIO, watchdog_s: float | None) -> None:
        self.is_live = out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.is_gone = False
        self._out = out
        self._colours = self.is_live and not os.environ.get("NO_COLOR")
        self._watchdog_s = watchdog_s
        self._fed_s: float | None = None
        self._is_asked = False
        self._drawn = False
        self._midline = False
        self._held = b""
        self._sample = ""
        self._sampled_at = 0.0
        self._started_at = 0.0
        self._main_pid = 0
        self._status = self._status_then = ""

    def title(self, command: str, manager: Manager) -> None:
        """The first line: what is tried, and how."""
        self._main_pid, self._started_at = manager.main_pid, manager.started_at
        if self._watchdog_s is None:
            promise = "no watchdog"
        else:
            promise = f"watchdog W = {format_duration(self._watchdog_s)}"
        self._line(0.0, f"{command}  (process {self._main_pid}, {promise})")

    def event(self, event: Event) -> None:
        """One thing that happened."""
        text, colour = event.text, _COLOURS.get(event.what, "")
        if event.what == "started":
            return  # the title said so
        if event.what == "watchdog":
            self._status_then = self._status
        if event.message:
            self._status = event.message.get("STATUS") or self._status
            text = "  ".join(f"{key}={clean(value)}" for key, value in event.message.assignments)
            if event.pid != self._main_pid:
                text += f"  (from process {event.pid})"
            elif event.message.has("READY"):
                self._fed_s, colour = event.at_s, _GREEN
            elif event.message.get("WATCHDOG") == "1":
                text += self._distance(event.at_s)
                colour = _DIM
        elif event.what == "exit":
            text = f"notifywrap ended: {text}"
        else:
            text = f"systemd: {text}"
        if event.what == "ended" and not self._is_asked and "Result=success" not in text:
            text += "; with Restart=on-failure it would be started again"
        self._line(event.at_s, text, colour)

    def stopping(self, why: str) -> None:
        """The end that comes now was asked for."""
        self._is_asked = True
        self.say(f"stopping: {why}")

    def say(self, text: str) -> None:
        """A line of our own."""
        self._line(time.monotonic() - self._started_at, f"try: {text}")

    def output(self, fd: int, data: bytes) -> None:
        """What came out of the service's stdout (1) or stderr (2); b"" when no more will come.

        The wrapper's own lines join the timeline, the target's bytes pass unchanged.
        """
        if fd == 1:
            self._pass(1, data)
            return
        lines = (self._held + data).splitlines(keepends=True)
        self._held = b""
        if data and lines and not lines[-1].endswith(b"\n") and _may_be_ours(lines[-1]):
            self._held = lines.pop()
        for line in lines:
            if line[:1] == b"<" and line[2 : 2 + len(_OURS)] == _OURS:
                text = clean(line[2 + len(_OURS) :].decode(errors="replace"), 1000)
                colour = _LEVEL_COLOURS.get(line[1:2], "")
                self._line(time.monotonic() - self._started_at, f"notifywrap: {text}", colour)
            else:
                self._pass(2, line)

    def refresh(self, manager: Manager) -> None:
        """Draws the live line anew, where there is one."""
        if not self.is_live or self._midline or manager.ended:
            return
        parts = [f"{manager.state}", f"{len(manager.pings)} pings"]
        silence_s = manager.silence_s
        if silence_s is not None and self._watchdog_s:
            share = silence_s / self._watchdog_s
            parts.append(f"last {silence_s:.1f} s ago, {share:.0%} of W")
        parts.append(self._measure(manager.main_pid))
        text = " · ".join(part for part in parts if part)
        width = shutil.get_terminal_size().columns - 1
        self._write(_ERASE + self._painted(text[:width], _DIM))
        self._drawn = True

    def summary(self, manager: Manager) -> None:
        """The last lines."""
        result, ready_s = manager.result, manager.ready_s
        ready = "never" if ready_s is None else f"after {ready_s:.3f} s"
        pings = str(len(manager.pings))
        if self._watchdog_s and ready_s is not None:
            gap_s = manager.largest_gap_s
            share = f"{gap_s / self._watchdog_s:.0%} of W ({format_duration(self._watchdog_s)})"
            pings += f", largest gap {gap_s:.3g} s = {share}"
        fired = "fired" if manager.watchdog_fired else "never fired"
        end = describe_end(result.code, result.signum, result.dumped)
        rows = [
            ("ready", ready),
            ("pings", pings),
            ("watchdog", fired if self._watchdog_s or manager.watchdog_fired else "off"),
            ("exit", f"{end}, Result={result.result}"),
        ]
        if self._status_then:
            rows.append(("STATUS then", clean(self._status_then)))
        elif self._status and ready_s is None:
            rows.append(("last STATUS", clean(self._status)))
        good = ready_s is not None and not manager.watchdog_fired
        self._erase()
        self._write("\n")
        for name, text in rows:
            self._write(self._painted(f"{name:<12}{text}", _GREEN if good else _RED) + "\n")

    def _distance(self, at_s: float) -> str:
        """How far a ping is from the last one, or from READY=1."""
        before_s, self._fed_s = self._fed_s, at_s
        if before_s is None or not self._watchdog_s:
            return ""
        gap_s = at_s - before_s
        return f"  (+{gap_s:.3f} s, {gap_s / self._watchdog_s:.0%} of W)" if gap_s > 0.001 else ""

    def _line(self, at_s: float, text: str, colour: str = "") -> None:
        self._erase()
        self._write(f"{at_s:9.3f}  {self._painted(text, colour)}\n")

    def _pass(self, fd: int, data: bytes) -> None:
        if not data:
            return
        self._erase(newline=False)
        # An unfinished line is not torn by ours, where both are seen in one place.
        self._midline = not data.endswith(b"\n") and (fd == 1 or self.is_live)
        try:
            while data:
                data = data[os.write(fd, data) :]
        except OSError:
            self.is_gone = True

    def _erase(self, newline: bool = True) -> None:
        if self._drawn:
            self._write(_ERASE)
            self._drawn = False
        if self._midline and newline:
            self._write("\n")
            self._midline = False

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            # EPIPE, EIO: `| head`, or a terminal that was closed. What is buffered goes nowhere.
            self.is_gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())

    def _painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_PLAIN}" if colour and self._colours else text

    def _measure(self, wrapper: int) -> str:
        """Memory and threads of the target's process tree, as of the last look."""
        now = time.monotonic()
        if now - self._sampled_at >= _SAMPLE_S:
            import psutil

            self._sampled_at, resident, threads = now, 0, 0
            try:
                for process in psutil.Process(wrapper).children(recursive=True):
                    resident += process.memory_info().rss
                    threads += process.num_threads()
            except psutil.Error:
                return self._sample  # somebody ended while we looked
            self._sample = f"{resident / 1e6:.0f} MB, {threads} threads" if threads else ""
        return self._sample


def _may_be_ours(start: bytes) -> bool:
    if len(start) > _LINE_LIMIT:
        return False
    expected = b"<" + start[1:2] + _OURS
    return start.startswith(expected) or expected.startswith(start)
