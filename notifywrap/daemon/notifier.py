"""What a daemon can tell systemd about itself. One Notifier for one environment."""

from __future__ import annotations

import os
import select
import time

from notifywrap.errors import NotifyError, describe
from notifywrap.lean import TYPE_CHECKING
from notifywrap.protocol.grant import parse_grant
from notifywrap.protocol.notify import Notifier as Sender
from notifywrap.protocol.wire import build, usec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Protocol, Self

    class HasFileno(Protocol):
        """A file, a socket, or anything else with a descriptor."""

        def fileno(self) -> int: ...


__all__ = ["Notifier", "Reload"]

# A busy PID 1 reads again within milliseconds. A daemon must not hang because systemd does.
LONGEST_WAIT_S = 0.1
_FIRST_PAUSE_S = 0.001
_PING = b"WATCHDOG=1"  # the only one that is sent all the time
_INT_MAX = 2**31 - 1
_ERRNO_MAX = 4095  # the kernel's MAX_ERRNO; systemd drops what is above
_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Tells systemd; every method returns True when systemd was told, False when there is none.

    environ      where NOTIFY_SOCKET and WATCHDOG_USEC are looked for, once; os.environ by default
    unset        remove them from os.environ, so that children do not find them. What is sent later
                 is sent all the same
    in_children  may a forked child speak as well? By default it may not: every method does nothing
                 there and returns False

    Safe to use from several threads. No method waits longer than 100 ms, barrier() apart. Raises
    NotifyError, here and in every method, for what should have worked and did not: an address that
    cannot be, a socket that is gone, a queue that stays full.
    Source: sd_notify(3), sd_watchdog_enabled(3).
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        unset: bool = False,
        in_children: bool = False,
    ) -> None:
        found = os.environ if environ is None else environ
        self._pid = os.getpid()
        self._in_children = in_children
        address = found.get("NOTIFY_SOCKET")
        self._sender = Sender(address) if address else None
        self._watchdog_s = parse_grant(found, self._pid) if address else None
        self._is_ready = self._is_stopping = False
        self._said = ""  # the daemon's own STATUS
        if unset:
            for name in _VARIABLES:
                os.environ.pop(name, None)

    @property
    def watchdog_s(self) -> float | None:
        """How long systemd waits between pings of this process, in seconds (WatchdogSec=); None
        when it does not expect any, and in a forked child."""
        return self._watchdog_s if self._speaks else None

    @property
    def is_ready(self) -> bool:
        """Has ready() been called, without an error?"""
        return self._is_ready

    @property
    def is_stopping(self) -> bool:
        """Has stopping() been called? A ping after it would arm systemd's watchdog anew."""
        return self._is_stopping

    def ready(self, status: str = "") -> bool:
        """READY=1: this service has started, or has finished its reload. Nothing after stopping(),
        when it would bring the watchdog back: False then."""
        if self._is_stopping:
            return False
        told = self._send(("READY", "1"), *self._status(status))
        self._is_ready = True
        return told

    def status(self, text: str) -> bool:
        """STATUS: one line for people, of which 200 characters are shown."""
        self._said = text
        return self._send(("STATUS", text))

    def say_trouble(self, text: str) -> bool:
        """STATUS for as long as something is wrong; "" brings back what status() had said."""
        return self._send(("STATUS", text or self._said or "healthy again"))

    def stopping(self, status: str = "") -> bool:
        """STOPPING=1: this service is about to end. systemd's watchdog is off from then on."""
        self._is_stopping = True
        return self._send(("STOPPING", "1"), *self._status(status))

    def reload(self, status: str = "") -> Reload:
        """`with notifier.reload():` around reading the configuration anew: RELOADING=1 before,
        READY=1 after it, also after an exception (which goes on; STATUS then has it)."""
        return Reload(self, status)

    def reloading(self, status: str = "") -> bool:
        """RELOADING=1, with the time that Type=notify-reload needs; ready() must follow. Nothing
        after stopping()."""
        if self._is_stopping:
            return False
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        stamp = (("RELOADING", "1"), ("MONOTONIC_USEC", usec(now)))
        return self._send(*stamp, *self._status(status))

    def ping(self) -> bool:
        """WATCHDOG=1: this service works, now. watchdog() sends it on evidence alone. Nothing after
        stopping()."""
        return False if self._is_stopping else self._deliver(_PING, ())

    def trigger_watchdog(self) -> bool:
        """WATCHDOG=trigger: treat this service as if its watchdog had run out."""
        return self._send(("WATCHDOG", "trigger"))

    def extend_timeout(self, length_s: float) -> bool:
        """EXTEND_TIMEOUT_USEC: the start, reload or stop that is under way may take *length_s*
        seconds more, from now. In a running service it moves the watchdog's deadline instead."""
        return self._send(("EXTEND_TIMEOUT_USEC", _usec(length_s)))

    def errno(self, number: int) -> bool:
        """ERRNO: why this service failed, as errno(3) has it."""
        return self._send(("ERRNO", _number("ERRNO", number, 0, _ERRNO_MAX)))

    def main_pid(self, pid: int) -> bool:
        """MAINPID: another process is the service's main one from now on, and with the default
        NotifyAccess=main the only one that is heard."""
        return self._send(("MAINPID", _number("MAINPID", pid, 1, _INT_MAX)))

    def store_fds(
        self, fds: Iterable[int | HasFileno], name: str = "", *, poll: bool = True
    ) -> bool:
        """FDSTORE=1: systemd keeps copies of *fds* for the service's next life, under *name*.

        name  for LISTEN_FDNAMES; "" for "stored"
        poll  false: kept even when the other end has hung up (FDPOLL=0)

        The unit needs FileDescriptorStoreMax=.
        """
        more: tuple[tuple[str, str], ...] = (("FDNAME", name),) if name else ()
        more += () if poll else (("FDPOLL", "0"),)
        return self._send(("FDSTORE", "1"), *more, fds=_numbers_of(fds))

    def remove_fds(self, name: str) -> bool:
        """FDSTOREREMOVE=1: forget the descriptors that were stored under *name*."""
        return self._send(("FDSTOREREMOVE", "1"), ("FDNAME", name))

    def barrier(self, timeout_s: float = 5.0) -> bool:
        """Wait until systemd has read all that was sent before: for programs that end right after.

        Raises NotifyError when that takes longer than *timeout_s* seconds.
        """
        limit_ms = _milliseconds(timeout_s)
        try:
            reading, writing = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise NotifyError(f"cannot make a pipe for systemd to close: {why}") from None
        try:
            try:
                if not self._send(("BARRIER", "1"), fds=(writing,)):
                    return False
            finally:
                os.close(writing)
            poll = select.poll()
            poll.register(reading, 0)  # POLLHUP, when systemd closes its copy
            if not poll.poll(limit_ms):
                raise NotifyError(f"systemd has not read its notifications within {timeout_s:g} s")
        finally:
            os.close(reading)
        return True

    def close(self) -> None:
        """Lets go of the socket. Whatever is said afterwards is said to nobody."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    @property
    def _speaks(self) -> bool:
        return self._sender is not None and (self._in_children or os.getpid() == self._pid)

    def _status(self, text: str) -> tuple[tuple[str, str], ...]:
        self._said = text or self._said
        return (("STATUS", text),) if text else ()

    def _send(self, *assignments: tuple[str, str], fds: tuple[int, ...] = ()) -> bool:
        # Built first: a wrong argument shows without systemd as well.
        return self._deliver(build(assignments), fds)

    def _deliver(self, datagram: bytes, fds: tuple[int, ...]) -> bool:
        sender = self._sender
        if sender is None or not self._speaks:
            return False
        sender.renew()
        if sender.send(datagram, fds):
            return True
        pause_s = _FIRST_PAUSE_S
        deadline = time.monotonic() + LONGEST_WAIT_S
        while time.monotonic() + pause_s < deadline:
            time.sleep(pause_s)
            if sender.send(datagram, fds):
                return True
            pause_s *= 2
        raise NotifyError("systemd does not read its notifications: its queue stays full")


class Reload:
    """What is between RELOADING=1 and READY=1."""

    def __init__(self, notifier: Notifier, status: str) -> None:
        self._notifier = notifier
        self._status = status

    def __enter__(self) -> Self:
        self._notifier.reloading(self._status)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # systemd waits for READY=1: a reload that failed leaves a service that runs all the same.
        if error is None:
            self._notifier.ready()
            return
        try:
            self._notifier.ready(f"reload failed: {describe(error)}")
        except NotifyError as unheard:
            error.add_note(str(unheard))  # the daemon's own exception is the one that goes on


def _usec(length_s: float) -> str:
    try:
        text = usec(length_s)
        if 0 <= int(text) < 2**64:
            return text
    except (TypeError, ValueError, OverflowError):  # None; text and NaN; infinity
        pass
    raise NotifyError(f"cannot notify systemd: {length_s!r} is not a length of time in seconds")


def _milliseconds(length_s: float) -> int:
    """For poll(2), for which a negative one means "for ever"."""
    try:
        return int(min(max(length_s, 0.0) * 1000, _INT_MAX))
    except (TypeError, ValueError):
        raise NotifyError(f"{length_s!r} is not a length of time in seconds") from None


def _number(key: str, value: int, least: int, most: int) -> str:
    try:
        if least <= int(value) <= most:
            return str(int(value))
    except (TypeError, ValueError, OverflowError):
        pass
    raise NotifyError(f"cannot notify systemd: {key} is in {least}..{most}, not {value!r}")


def _numbers_of(fds: Iterable[int | HasFileno]) -> tuple[int, ...]:
    try:
        numbers = tuple(fd if isinstance(fd, int) else fd.fileno() for fd in fds)
    except (TypeError, AttributeError, ValueError, OSError) as error:  # ValueError: it is closed
        raise NotifyError(f"cannot hand descriptors to systemd: {error}") from None
    for number in numbers:
        if not 0 <= number <= _INT_MAX:
            raise NotifyError(f"cannot hand descriptors to systemd: {number} is none")
    return numbers
