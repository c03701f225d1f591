"""What can be tried on the target: `open_attempt` starts one non-blocking try of any kind of probe.

A kind's module is imported when the first probe of that kind is opened, so that a service pays in
memory only for what it uses.
"""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Outcome, Sample
from notifywrap.policy.probe import (
    AliveProbe,
    DiscoverProbe,
    ExecProbe,
    FdProbe,
    FdsProbe,
    FileProbe,
    GrpcProbe,
    HttpProbe,
    ListenProbe,
    LogProbe,
    RssProbe,
    TakenProbe,
    TcpProbe,
    UnixProbe,
)

if TYPE_CHECKING:
    from notifywrap.policy.probe import Probe
    from notifywrap.probes.target import Target

__all__ = ["Attempt", "open_attempt", "why"]


class Attempt:
    """One non-blocking try. The supervisor owns the timeout and calls close() in every case.

    Call advance() once right after opening, then whenever the fd is ready or `wake_after_s` seconds
    have passed, until it returns a Sample. Read fileno(), wants and wake_after_s anew after each
    call: they change as it goes on.

    wake_after_s  seconds until advance() wants to be called although the fd is silent; None: never
    pid           the child that an exec probe runs, else 0: whoever reaps it says so with reaped()
    """

    wake_after_s: float | None = None
    pid = 0

    @property
    def wants(self) -> int:
        """What to poll the fd for: select.POLLIN, select.POLLOUT or 0."""
        return 0

    def fileno(self) -> int:
        """What to poll; -1 when there is nothing."""
        return -1

    def advance(self) -> Sample | None:
        """Go as far as possible without blocking; the Sample when finished. Raises no OSError."""
        try:
            return self._step()
        except OSError as error:
            # EMFILE, ENOBUFS, EACCES: our weather, not the target's
            return Sample(Outcome.BROKEN, why(error))

    def _step(self) -> Sample | None:
        raise NotImplementedError

    def overdue(self) -> Sample:
        """The Sample when the timeout strikes: its reason says how far the attempt got."""
        return Sample(Outcome.TIMED_OUT, "no answer")

    def is_still_unheard(self) -> bool:
        """A cheap look, after an attempt that found nobody who listens: is there nobody still?

        False where that cannot be told. May be called when closed.
        """
        return False

    def reaped(self, status: int) -> None:
        """Told by whoever reaped `pid`: its wait status, as waitpid(2) gave it."""

    def close(self) -> None:
        """Close and kill whatever the attempt holds. May be called again."""


class _Finished(Attempt):
    """An attempt that was over before it began."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def _step(self) -> Sample:
        return self._sample


def why(error: OSError) -> str:
    """What went wrong in the kernel's words, without errno and file name: fit for STATUS."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def open_attempt(probe: Probe, target: Target) -> Attempt:
    """Start one try of *probe*.

    Never raises OSError: an attempt that cannot be made is a BROKEN one.
    """
    try:
        return _open(probe, target)
    except OSError as error:
        return _Finished(Sample(Outcome.BROKEN, why(error)))


# Where each kind's attempt is, or the attempt's class once its module is imported.
_ATTEMPTS: dict[type, tuple[str, str] | type] = {
    AliveProbe: ("alive", "AliveAttempt"),
    DiscoverProbe: ("discover", "DiscoverAttempt"),
    ExecProbe: ("exec", "ExecAttempt"),
    FdProbe: ("fd", "FdAttempt"),
    FdsProbe: ("fds", "FdsAttempt"),
    FileProbe: ("file", "FileAttempt"),
    GrpcProbe: ("grpc", "GrpcAttempt"),
    HttpProbe: ("http", "HttpAttempt"),
    ListenProbe: ("listen", "ListenAttempt"),
    LogProbe: ("log", "LogAttempt"),
    RssProbe: ("rss", "RssAttempt"),
    TakenProbe: ("taken", "TakenAttempt"),
    TcpProbe: ("tcp", "TcpAttempt"),
    UnixProbe: ("unix", "UnixAttempt"),
}


def _open(probe: Probe, target: Target) -> Attempt:
    kind = _ATTEMPTS[type(probe)]
    if isinstance(kind, tuple):
        module, name = kind
        kind = getattr(__import__(f"notifywrap.probes.{module}", None, None, (name,)), name)
        _ATTEMPTS[type(probe)] = kind
    attempt: Attempt = kind(probe, target)
    return attempt
