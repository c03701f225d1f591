"""Does the target accept a TCP connection.

The kernel completes handshakes for a process that hangs. Whether the application has called
accept() shows in the inode of the server's end of our connection, which is 0 until then.
"""

from __future__ import annotations

import select

from notifywrap.lean import TYPE_CHECKING, socket
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes import Attempt
from notifywrap.probes.dial import Dial, is_unheard
from notifywrap.probes.ownership import Owner, matching, whose
from notifywrap.probes.sockets import CLOSE_WAIT, ESTABLISHED, LISTEN, SYN_RECV

if TYPE_CHECKING:
    from notifywrap.policy.probe import TcpProbe, UnixProbe
    from notifywrap.probes.sockets import KernelSockets, Listener
    from notifywrap.probes.target import Target

__all__ = ["ConnectAttempt", "TcpAttempt", "unverified"]

# A healthy server accepts within half a millisecond, so one look nearly always decides; a server
# that hangs costs a handful of looks until the timeout. 10 ms at most at first: a start may wait
# for this answer.
_RECHECKS_S = (0.0004, 0.001, 0.003, 0.010, 0.010, 0.010, 0.025, 0.050)
_LAST_RECHECK_S = 0.100
# How often a connection may still be half open after we have closed our end of it.
_MOST_HALF_OPEN = 5


def unverified(because: str) -> Sample:
    """Connected, and that is all that is known."""
    return Sample(Outcome.PASSED, note=f"accepting is not verified: {because}")


class ConnectAttempt(Attempt):
    """Connects, then looks for evidence that the connection was accepted.

    Subclasses know where to look.
    """

    def __init__(self, probe: TcpProbe | UnixProbe, target: Target) -> None:
        self._target = target
        self._looks = 0
        self._is_rationed = True
        self._dial = Dial(probe)

    @property
    def wants(self) -> int:
        return select.POLLIN if self._dial.connected else self._dial.wants

    def fileno(self) -> int:
        return self._dial.fileno()

    def close(self) -> None:
        self._dial.close()

    def is_still_unheard(self) -> bool:
        if self._target.pid:
            self._target.owners()  # its module is loaded now, and not between listen() and READY=1
        return is_unheard(self._dial.probe, self._target)

    def overdue(self) -> Sample:
        if not self._dial.connected:
            return self._dial.overdue()
        # Where looking is rationed the last look may have been long ago: too early, at the start.
        self._is_rationed = False
        return self.advance() or Sample(Outcome.TIMED_OUT, f"{self._dial.where} not accepted")

    def _step(self) -> Sample | None:
        failure = self._dial.advance()
        if failure is not None or not self._dial.connected:
            self.wake_after_s = self._dial.wake_after_s
            return failure
        sockets = self._target.sockets()
        if sockets.blind:
            return unverified(sockets.blind)
        waits_s = sockets.wait_s() if self._is_rationed else 0.0
        sample = self._evidence(sockets, may_look=waits_s == 0.0)
        if sample is None:
            self.wake_after_s = max(self._next_look_s(), waits_s)
        elif sample.outcome is Outcome.PASSED:
            return self._owned(sample, sockets)
        return sample

    def _next_look_s(self) -> float:
        self._looks += 1
        return _RECHECKS_S[self._looks - 1] if self._looks <= len(_RECHECKS_S) else _LAST_RECHECK_S

    def _evidence(self, sockets: KernelSockets, may_look: bool) -> Sample | None:
        if self._dial.was_reset:
            return self._after_reset(sockets)
        try:
            # Peeking: what is here is read when hanging up. Data as well as EOF take a server that
            # has accepted.
            self._connection().recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return self._look(sockets) if may_look else None
        except OSError:
            return self._after_reset(sockets)
        return Sample(Outcome.PASSED)

    def _connection(self) -> socket.socket:
        assert self._dial.socket is not None, "evidence is looked for on a connection"
        return self._dial.socket

    def _owned(self, passed: Sample, sockets: KernelSockets) -> Sample | None:
        """*passed*, unless it is certain that somebody outside of the tree listens there."""
        listeners = self._listeners(sockets) if self._target.pid else []
        if not listeners:
            return passed  # nobody to ask for, a remote host, or another network namespace
        owner, text = whose(listeners, self._target)
        if owner is Owner.UNDECIDED:
            self.wake_after_s = self._next_look_s()
            return None
        if owner is Owner.FOREIGN:
            return Sample(Outcome.FAILED, f"{self._dial.where} {text}")
        return passed

    def _look(self, sockets: KernelSockets) -> Sample | None:
        """Ask the kernel: a sample when it knows, None to look again."""
        raise NotImplementedError

    def _after_reset(self, sockets: KernelSockets) -> Sample | None:
        """The server answered with a reset."""
        raise NotImplementedError

    def _listeners(self, sockets: KernelSockets) -> list[Listener]:
        """Who listens where we have connected."""
        raise NotImplementedError


class TcpAttempt(ConnectAttempt):
    """What the kernel's entry for the server's end of our connection proves."""

    _half_open_looks = 0
    _half_closed = False
    _seen_nowhere = False

    def _look(self, sockets: KernelSockets) -> Sample | None:
        end = sockets.tcp_end(self._dial.here, self._dial.there)
        if end is None:
            return self._nowhere(
                "the server's end is not in this kernel's or network namespace's tables"
            )
        # After a reset, or a SYN cookie: the connection itself is not in the table
        if end.state == LISTEN:
            return None if end.is_full else self._nowhere("the kernel knows the listener only")
        if end.state == SYN_RECV:
            return self._half_open(sockets)
        if end.state in (ESTABLISHED, CLOSE_WAIT) and end.inode == 0:
            return None
        # All other states with inode 0 mean accepted and closed again.
        return Sample(Outcome.PASSED)

    def _nowhere(self, because: str) -> Sample | None:
        """The server's end is not in the table."""
        first, self._seen_nowhere = not self._seen_nowhere, True
        # It is gone for an instant when both ends have closed, too: then EOF is here by now. And
        # when another CPU just puts it in the place of the half open one.
        return None if first else unverified(because)

    def _half_open(self, sockets: KernelSockets) -> Sample | None:
        """SYN_RECV.

        A full queue, or TCP_DEFER_ACCEPT, where accept() waits for data that we do not send. It
        waits for no longer than until we close our end, which we would do in a moment anyway.
        """
        self._half_open_looks += 1
        if self._half_open_looks == 1:
            # Seen for an instant in an ordinary handshake too, when the server's CPU is busy
            return None
        listeners = self._listeners(sockets)
        if not listeners or all(listener.is_full for listener in listeners):
            return None
        if not self._half_closed:
            self._half_closed = True
            self._connection().shutdown(socket.SHUT_WR)
        if self._half_open_looks <= _MOST_HALF_OPEN:
            return None
        return unverified("the server defers accepting until data comes (TCP_DEFER_ACCEPT)")

    def _after_reset(self, sockets: KernelSockets) -> Sample | None:
        listeners = self._listeners(sockets)
        if not listeners:
            return Sample(Outcome.FAILED, f"{self._dial.where} connection reset")
        if all(listener.is_full for listener in listeners):  # net.ipv4.tcp_abort_on_overflow=1
            return Sample(
                Outcome.FAILED, f"{self._dial.where} connection reset, the server's queue is full"
            )
        return unverified("the server resets connections")

    def _listeners(self, sockets: KernelSockets) -> list[Listener]:
        host, port = self._dial.there
        return matching(sockets.tcp_listeners(port), host, port)
