"""What happens to the machine, and what it wants done: plain values, so that a history is data."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, Enum, NamedTuple
from notifywrap.policy.level import Level

if TYPE_CHECKING:
    from notifywrap.policy.exits import ExitStatus
    from notifywrap.policy.probe import Pace, Probe

__all__ = [
    "Abort",
    "Action",
    "Again",
    "CloseAttempt",
    "Discard",
    "Event",
    "Exit",
    "Follow",
    "Followed",
    "Forward",
    "Level",
    "Notify",
    "OpenAttempt",
    "Outcome",
    "ReloadAsked",
    "ReloadEnded",
    "Sample",
    "Sampled",
    "Say",
    "Signalled",
    "Stop",
    "TargetExited",
    "TargetNotified",
    "Timer",
]


class Outcome(Enum):
    """How one attempt ended."""

    PASSED = "passed"
    FAILED = "failed"  # the target answered, or its kernel did, and the answer is no
    TIMED_OUT = "timed out"  # nobody answered in time: a hang, or a machine that is starved
    BROKEN = "broken"  # the probe itself could not be made; says nothing about the target


class Sample(NamedTuple):
    """The result of one attempt.

    reason   why it did not pass, in a few words for STATUS ("connection refused", "HTTP 503")
    note     what a passed attempt could not prove; said once, not at every round
    unheard  true when nothing listened: the attempt cost the target nothing and may be repeated
             soon
    found    what discovery found: a probe for each socket
    """

    outcome: Outcome
    reason: str = ""
    note: str = ""
    unheard: bool = False
    found: tuple[Probe, ...] = ()


# --- events -------------------------------------------------------------------------------------


class Sampled(NamedTuple):
    """An attempt ended. *excuse* says why a time-out just now proves nothing; "" when there is no
    such reason."""

    attempt: int
    sample: Sample
    excuse: str = ""


class Timer(NamedTuple):
    """The moment that `next_deadline()` named has come."""


class Signalled(NamedTuple):
    """A signal was delivered to the wrapper. *handled*: the target has a handler of its own for
    it."""

    signum: int
    handled: bool = True


class ReloadAsked(NamedTuple):
    """`notifywrap reload` asks for what the reload signal asks for, and waits for its ReloadEnded.

    *handled* as for Signalled, of the signal that the target would be sent.
    """

    handled: bool = True


class TargetNotified(NamedTuple):
    """The target sent an sd_notify message of its own.

    assignments  as sent, in order; strictly parsed, nothing else is checked
    fds          the file descriptors that came with it: ours to pass on or to discard
    dying        the target has ended meanwhile: its last words
    """

    assignments: tuple[tuple[str, str], ...]
    fds: tuple[int, ...] = ()
    dying: bool = False


class TargetExited(NamedTuple):
    """The target has ended and was reaped. *heirs*: other processes of its tree are left."""

    status: ExitStatus
    heirs: bool = False


class Followed(NamedTuple):
    """The pid file names another process of the tree: it is the target from now on."""

    pid: int


class Abort(NamedTuple):
    """notifywrap itself cannot go on: stop the target and end with 125."""

    reason: str


Event = Sampled | Timer | Signalled | ReloadAsked | TargetNotified | TargetExited | Followed | Abort


# --- actions ------------------------------------------------------------------------------------


class Again(NamedTuple):
    """The last attempt found nobody who listens, and that changes nothing until somebody does.

    So an attempt that finds the same, for the same *reason*, is not reported but made again, at
    *pace* for a wait that began at *since*: a start of a minute is then thousands of looks, and no
    decisions.

    looks_s  this long a look into the kernel's tables stands for an attempt, where one tells
             whether anybody listens: it costs a tenth. It may miss somebody (DNAT, a socket lookup
             by BPF), and no start must wait much longer for that.
    """

    pace: Pace
    since: float
    reason: str
    looks_s: float = 0.1


class OpenAttempt(NamedTuple):
    """Start an attempt of *probe*; report its Sample, TIMED_OUT at the latest *timeout_s* from
    now, or from when it was made *again*."""

    attempt: int
    probe: Probe
    timeout_s: float
    again: Again | None = None


class CloseAttempt(NamedTuple):
    """Give an attempt up; no Sample is wanted any more."""

    attempt: int


class Notify(NamedTuple):
    """Send one datagram with these assignments, in order.

    lasts_s  how long it is worth retrying while systemd's socket is full; None: until it is sent
    fds      file descriptors to send along; closed once sent or given up
    """

    assignments: tuple[tuple[str, str], ...]
    lasts_s: float | None = 0.0
    fds: tuple[int, ...] = ()


class Discard(NamedTuple):
    """Close file descriptors that came with a message and go nowhere."""

    fds: tuple[int, ...]


class Follow(NamedTuple):
    """Look whom the pid file names; report Followed if that is a living process of the tree."""


class ReloadEnded(NamedTuple):
    """Answer everybody who waits for a reload: *why* is "" when the target is ready again."""

    why: str


class Forward(NamedTuple):
    """Send this signal to the target."""

    signum: int


class Stop(NamedTuple):
    """Stop the wrapper itself (SIGSTOP) until somebody continues it."""


class Say(NamedTuple):
    """Write one line to the journal."""

    level: Level
    text: str


class Exit(NamedTuple):
    """End as this says. Always the last action."""

    status: ExitStatus


Action = (
    OpenAttempt
    | CloseAttempt
    | Notify
    | Discard
    | Follow
    | ReloadEnded
    | Forward
    | Stop
    | Say
    | Exit
)
