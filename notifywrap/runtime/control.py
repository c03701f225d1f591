"""Where `notifywrap reload` asks for a reload and waits for its end.

A connection is the request, one message the answer: READY, or why the target is not ready again.
Nothing is read from the client. ("SEQPACKET": one message, or none and then the wrapper has ended.)
"""

from __future__ import annotations

import select
import sys

from notifywrap.lean import TYPE_CHECKING, os, socket
from notifywrap.policy.events import Level, ReloadAsked
from notifywrap.policy.signalling import RELOAD
from notifywrap.runtime.loop import Part
from notifywrap.runtime.signals import is_handled_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.events import Event
    from notifywrap.policy.spec import Spec
    from notifywrap.probes.target import Target
    from notifywrap.runtime.loop import Loop

__all__ = ["READY", "Control", "address_of", "peer_of"]

READY = b"ready"
_MOST_WAITING = 16
_UCRED_SIZE = 12  # three ints, pid, uid, gid: unix(7), SO_PEERCRED


def address_of(pid: int) -> bytes:
    """Where wrapper *pid* listens: a name in the abstract namespace, of this network namespace.

    With the pid namespace in it: many can be pid 1 beside each other (PrivatePIDs=, containers).
    """
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0  # no /proc, for the one who asks as well
    return f"\0notifywrap/reload/{namespace}/{pid}".encode()


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Pid and uid of the other end: for a client, of the one who called listen(2)."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED_SIZE)
    return int.from_bytes(data[:4], sys.byteorder), int.from_bytes(data[4:8], sys.byteorder)


class Control(Part):
    """Takes requests for a reload from root and from our own user, and answers them.

    say  writes a line to the journal
    """

    def __init__(self, spec: Spec, say: Callable[[Level, str], None]) -> None:
        self._spec = spec
        self._say = say
        self._waiting: list[socket.socket] = []
        self._loop: Loop | None = None
        self._listener: socket.socket | None = None
        try:
            self._listener = _listen()
        except OSError as error:
            # EADDRINUSE: somebody wants to be asked in our place; it does not help him, the client
            # looks who listens. EAFNOSUPPORT: RestrictAddressFamilies=.
            say(Level.DEBUG, f"`notifywrap reload` will not work: {error.strerror}")

    def attach(self, loop: Loop, put: Callable[[Event], None], target: Target) -> None:
        if self._listener is not None:
            self._loop, self._put, self._target = loop, put, target
            loop.watch(self._listener.fileno(), select.POLLIN, self._take)

    def answer(self, why: str, unheard: int) -> None:
        answered = len(self._waiting) - unheard
        for client in self._waiting[:answered]:
            _tell(client, why.encode("utf-8", "replace") or READY)
        del self._waiting[:answered]

    def close(self) -> None:
        for client in self._waiting:
            client.close()  # without an answer: we have ended before there was one
        self._waiting.clear()
        if self._listener is not None:
            if self._loop is not None:
                self._loop.forget(self._listener.fileno())
            self._listener.close()
        self._listener = None

    def _take(self) -> None:
        """One a turn: poll(2) reports the next one at once."""
        assert self._listener is not None, "nobody watches a listener that is not there"
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # of _socket
        except (BlockingIOError, ConnectionAbortedError):
            return  # it has gone away again
        except OSError as error:
            # EMFILE: whoever waits in the queue would wake us for ever
            self._say(Level.WARNING, f"`notifywrap reload` works no more: {error.strerror}")
            self.close()
            return
        client = socket.socket(fileno=fd)
        client.setblocking(False)
        _, uid = peer_of(client)
        if uid not in (0, os.geteuid()):
            _tell(client, b"only root and the service's own user may ask for a reload")
        elif len(self._waiting) >= _MOST_WAITING:
            _tell(client, b"too many wait for a reload already")
        else:
            self._waiting.append(client)
            self._put(ReloadAsked(self._is_handled()))

    def _is_handled(self) -> bool:
        """Would the target outlive what it gets for a reload?"""
        signum = self._spec.sent_for(RELOAD)
        return bool(self._spec.reload_command) or is_handled_by(self._target.pid, signum)


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(address_of(os.getpid()))
        listener.listen(_MOST_WAITING)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _tell(client: socket.socket, message: bytes) -> None:
    try:
        client.send(message, socket.MSG_NOSIGNAL)
    except OSError:
        pass  # EPIPE: it has gone away
    client.close()
