"""Whose listening socket is it: the target's, somebody else's, or is that hidden from us."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, Enum, NamedTuple

if TYPE_CHECKING:
    from notifywrap.probes.sockets import Listener
    from notifywrap.probes.target import Target

__all__ = ["Finding", "Owner", "matching", "whose"]


class Owner(Enum):
    """Who holds a listening socket."""

    TARGET = "target"
    INHERITED = "inherited"  # the target too, but it was listening before the target ran
    LIKELY = "likely"  # the fds are hidden from us; the user id fits
    FOREIGN = "foreign"
    UNDECIDED = "undecided"  # looking now would cost too much


class Finding(NamedTuple):
    """Who holds it, and for FOREIGN and LIKELY what to say about it."""

    owner: Owner
    text: str = ""


def matching(listeners: list[Listener], host: str, port: int) -> list[Listener]:
    """Those of *listeners* that take a connection to this address; any address if *host* is ""."""
    return [
        listener
        for listener in listeners
        if listener.port == port and (not host or listener.host in (host, *_wildcards(host)))
    ]


def _wildcards(host: str) -> tuple[str, ...]:
    # An IPv6 wildcard takes IPv4 connections too unless IPV6_V6ONLY is set.
    return ("::",) if ":" in host else ("0.0.0.0", "::")


def whose(listeners: list[Listener], target: Target) -> Finding:
    """Who holds these sockets, the target if it holds any of them.

    *listeners* must not be empty.
    """
    owners = target.owners()
    inodes = {listener.inode for listener in listeners}
    held = owners.held(inodes)
    if held - target.inherited:
        return Finding(Owner.TARGET)
    if held or inodes & target.inherited:
        return Finding(Owner.INHERITED)
    if not owners.is_decided(inodes):
        return Finding(Owner.UNDECIDED)
    if owners.unreadable:
        return _by_uid(listeners, owners.uids())
    name = owners.holder_name(listeners[0].inode)
    return Finding(Owner.FOREIGN, "held by another process" + (f" ({name})" if name else ""))


def _by_uid(listeners: list[Listener], uids: set[int]) -> Finding:
    """The target's fds are hidden (it has capabilities or a user of its own).

    What is left is the socket's user.
    """
    if any(listener.uid in uids or listener.uid < 0 for listener in listeners):
        return Finding(
            Owner.LIKELY,
            "the target's fds are hidden: that it holds the socket is told by the user id only",
        )
    return Finding(Owner.FOREIGN, f"held by another user (uid {listeners[0].uid})")
