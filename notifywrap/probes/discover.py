"""What does the target's process tree listen on: the guess that zero-config goes by."""

from __future__ import annotations

import stat

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Outcome, Sample
from notifywrap.policy.probe import TcpProbe, UnixProbe
from notifywrap.probes import Attempt
from notifywrap.probes.dial import show

if TYPE_CHECKING:
    from notifywrap.policy.probe import DiscoverProbe
    from notifywrap.probes.sockets import Listener
    from notifywrap.probes.target import Target

__all__ = ["DiscoverAttempt"]

_HIDDEN = "the target's fds are hidden from us"
_GUESSED = f"{_HIDDEN}: its sockets are guessed by user id and time"
_NOTHING = Sample(Outcome.FAILED, "no listening socket yet", unheard=True)


class DiscoverAttempt(Attempt):
    """Dumps all listening sockets (60 us); walks over the tree's fds only when there is a new one.

    Inherited sockets are found too: whether they are served is for the accept check of the probes
    found to say.
    """

    def __init__(self, probe: DiscoverProbe, target: Target) -> None:  # noqa: ARG002
        self._target = target

    def overdue(self) -> Sample:
        return Sample(Outcome.TIMED_OUT, "the listening sockets could not be looked up in time")

    def _step(self) -> Sample | None:
        sockets = self._target.sockets()
        if sockets.blind:
            return Sample(Outcome.BROKEN, f"cannot see who listens: {sockets.blind}")
        self.wake_after_s = sockets.wait_s()
        if self.wake_after_s:
            return None
        listeners = sockets.tcp_listeners() + sockets.unix_listeners()
        inodes = frozenset(listener.inode for listener in listeners)
        if self._target.listened_before is None:
            self._target.listened_before = inodes
        owners = self._target.owners()
        held = owners.held(inodes)
        if held or not owners.unreadable:
            return self._sample(frozenset(held), listeners)
        return self._guess(listeners)

    def _guess(self, listeners: list[Listener]) -> Sample:
        """The target's fds are hidden (setcap): what came after it started, under its user id."""
        known = self._target.listened_before or frozenset()
        new = [listener for listener in listeners if listener.inode not in known]
        uids = self._target.owners().uids() if new else set()
        likely = frozenset(listener.inode for listener in new if listener.uid in uids)
        sample = self._sample(likely, listeners)
        if sample.found:
            return sample._replace(note=_GUESSED)
        return sample._replace(reason=f"{sample.reason} ({_HIDDEN})", unheard=False)

    def _sample(self, held: frozenset[int], listeners: list[Listener]) -> Sample:
        """The last answer again while the tree holds the same sockets.

        Polling must not cost what finding costs.
        """
        last = self._target.last_found
        if last is None or last[0] != held:
            probes = [_probe(listener) for listener in listeners if listener.inode in held]
            found = tuple(sorted({probe for probe in probes if probe is not None}, key=_order))
            sample = Sample(Outcome.PASSED, found=found) if found else _NOTHING
            last = self._target.last_found = held, sample
        return last[1]


def _order(probe: TcpProbe | UnixProbe) -> tuple[int, str]:
    return (probe.addresses[0][1] if isinstance(probe, TcpProbe) else 0, probe.text)


def _probe(listener: Listener) -> TcpProbe | UnixProbe | None:
    """How to reach this socket from here; None when it cannot be."""
    if listener.path:
        return (
            UnixProbe(f"unix:{listener.path}", listener.path)
            if _is_reachable(listener.path)
            else None
        )
    if not listener.port:
        return None  # AF_UNIX without a name
    if listener.host.startswith("fe80:"):
        return None  # link-local: needs an interface too
    hosts = {"0.0.0.0": ("127.0.0.1",), "::": ("::1", "127.0.0.1")}.get(
        listener.host, (listener.host,)
    )
    addresses = tuple((host, listener.port) for host in hosts)
    # "::" is how most servers ask for every address: "tcp:[::1]:80" would look like IPv6 only.
    where = str(listener.port) if listener.host == "::" else show(addresses[0])
    return TcpProbe(f"tcp:{where}", addresses)


def _is_reachable(path: str) -> bool:
    """Not so.

    Bound relative to a directory that is not ours, or seen from another root or mount namespace
    only.
    """
    if path.startswith("@"):
        return True
    try:
        return path.startswith("/") and stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
