"""Hears what the target says at its NOTIFY_SOCKET: that comes to the machine.

Strict, because a socket with an abstract address is open to every process of the machine: a message
counts when its sender, whom the kernel names, is of the target's process tree.
"""

from __future__ import annotations

import select
import time

from notifywrap.errors import NotifyError
from notifywrap.lean import TYPE_CHECKING, socket
from notifywrap.policy.events import Level, TargetNotified
from notifywrap.protocol.wire import MAX_DATAGRAM, parse
from notifywrap.runtime.loop import Part
from notifywrap.runtime.outbox import close_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.events import Event
    from notifywrap.probes.target import Target
    from notifywrap.runtime.loop import Loop

__all__ = ["Relay"]

# struct ucred is three ints; SCM_MAX_FD = 253 is the most that the kernel passes at once (unix(7)).
_ROOM = socket.CMSG_SPACE(3 * 4) + socket.CMSG_SPACE(253 * 4)
# So many messages are read in such a time, at most; whoever sends more has to wait. Not fewer: a
# stranger may fill the queue (net.unix.max_dgram_qlen: 512 under systemd), and the target's own
# pings must come through it in time.
MOST, WINDOW_S = 256, 0.050
MOST_AT_END = 1024
_FORGET_S = 1.0  # no pid comes round again in that time


class Relay(Part):
    """Receives the target's own sd_notify messages, and hands on what is one.

    mailbox  the socket; closed here
    say      writes a line to the journal: once for each reason why messages are dropped
    """

    def __init__(self, mailbox: socket.socket, say: Callable[[Level, str], None]) -> None:
        self._socket = mailbox
        self._say = say
        self._said: set[str] = set()
        self._left, self._window_ends = 0, 0.0
        self._rests = self._is_held = False
        self._strangers: set[int] = set()  # pids that were looked up
        self._forget_at = 0.0

    def attach(self, loop: Loop, put: Callable[[Event], None], target: Target) -> None:
        """From now on messages are heard; those that have come before are first."""
        self._loop, self._put, self._target = loop, put, target
        self._listen()

    def next_deadline(self) -> float | None:
        """When it has rested from a flood."""
        return self._window_ends if self._rests else None

    def wake(self, now: float) -> None:
        """Read on after a rest."""
        if self._rests and now >= self._window_ends:
            self._rests = False
            self._listen()

    def hold(self, *, is_crowded: bool) -> None:
        """Do not read while too much waits for systemd: senders wait then, as they would for it."""
        self._is_held = is_crowded
        self._listen()

    def drain(self) -> None:
        """What a process says just before it ends may tell why."""
        for _ in range(MOST_AT_END):
            if self._take(dying=True) is None:
                return

    def close(self) -> None:
        """Nobody is heard any more."""
        self._socket.close()

    def _listen(self) -> None:
        if self._is_held or self._rests:
            self._loop.forget(self._socket.fileno())
        else:
            self._loop.watch(self._socket.fileno(), select.POLLIN, self._hear)

    def _hear(self) -> None:
        now = time.monotonic()
        if now >= self._window_ends:
            self._window_ends, self._left = now + WINDOW_S, MOST
        while self._left:
            is_enough = self._take(dying=False)
            if is_enough is None:
                return
            self._left -= 1
            if is_enough:
                return
        self._rests = True
        self._listen()

    def _take(self, *, dying: bool) -> bool | None:
        """Take one message: None when there is none, True when it is enough for this turn.

        Descriptors are passed on, or closed, before more of them are taken: a process has 1024 by
        default, and four messages could bring as many.
        """
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(
                MAX_DATAGRAM + 1, _ROOM, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        pid = 0
        fds: tuple[int, ...] = ()
        for _, kind, content in ancillary:
            numbers = tuple(memoryview(content[: len(content) & ~3]).cast("i"))
            if kind == socket.SCM_RIGHTS:
                fds = numbers
            elif kind == socket.SCM_CREDENTIALS:
                pid = numbers[0]
        if self._is_ours(pid) and not self._is_cut(flags):
            try:
                assignments = parse(data).assignments
            except NotifyError as error:
                self._say_once(str(error), f"sd_notify of the target: {error}")
            else:
                if not data.isascii():
                    assignments = self._without_bad_status(data, assignments)
                self._put(TargetNotified(assignments, fds, dying))
                return bool(fds)
        close_all(fds)
        return False

    def _is_ours(self, pid: int) -> bool:
        """Is the sender of the target's tree?"""
        if pid == self._target.pid:
            return True
        now = time.monotonic()
        if now >= self._forget_at:
            self._strangers.clear()
            self._forget_at = now + _FORGET_S
        if pid in self._strangers:
            return False  # looking costs 10 us for each of its parents
        from notifywrap.probes.tree import is_member  # most targets have one process that speaks

        try:
            if is_member(self._target, pid):
                return True
        except ProcessLookupError:
            self._say_once(
                "gone",
                f"sd_notify by process {pid} ignored: it has ended, or is hidden (ProtectProc=),"
                " so nobody can tell whether it was of the target's tree"
                " (`systemd-notify` waits to be heard, unless it is told --no-block)",
            )
            return False
        self._strangers.add(pid)
        self._say_once("foreign", f"sd_notify by process {pid} ignored: not of the target's tree")
        return False

    def _is_cut(self, flags: int) -> bool:
        """Did the kernel leave out descriptors? A message is all or nothing."""
        if not flags & socket.MSG_CTRUNC:
            return False
        self._say_once(
            "cut", "sd_notify of the target: message dropped: too many open files (LimitNOFILE=)"
        )
        return True

    def _without_bad_status(
        self, data: bytes, assignments: tuple[tuple[str, str], ...]
    ) -> tuple[tuple[str, str], ...]:
        """A STATUS that nobody can read must not replace one that says something."""
        try:
            data.decode()
        except UnicodeDecodeError:
            self._say_once("UTF-8", "sd_notify of the target: not valid UTF-8, no STATUS taken")
            return tuple(pair for pair in assignments if pair[0] != "STATUS")
        return assignments

    def _say_once(self, reason: str, text: str) -> None:
        if reason not in self._said:
            self._said.add(reason)
            self._say(Level.NOTICE, text)
