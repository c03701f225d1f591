"""What changes between two looks at a connection must not become a wrong answer."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from notifywrap.policy.events import Outcome
from notifywrap.probes.sockdiag import SockDiag
from notifywrap.probes.sockets import ESTABLISHED, KernelSockets, Listener, TcpEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.events import Sample
    from notifywrap.policy.probe import TcpProbe
    from notifywrap.probes.target import Target


class Rationed(KernelSockets):
    """One look was too early, and no other is allowed for a long time: a slow /proc/self/net."""

    def __init__(self) -> None:
        self.looks = 0

    def wait_s(self) -> float:
        return 60.0 if self.looks else 0.0

    def tcp_end(self, *_: object) -> TcpEnd | None:
        self.looks += 1
        return TcpEnd(ESTABLISHED, inode=self.looks - 1)  # accepted by the second look

    def tcp_listeners(self, *_: object) -> list[Listener]:
        return []


class Closing(SockDiag):
    """The server closes its listener just before we look."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__()
        self.listener = listener

    def tcp_end(self, here: tuple[str, int], there: tuple[str, int]) -> TcpEnd | None:
        self.listener.close()
        return super().tcp_end(here, there)


def test_a_look_that_is_overdue_is_made_before_the_attempt_times_out(
    tcp: Callable[..., TcpProbe],
    targets: Callable[..., Target],
    attempt: Callable[..., Sample],
) -> None:
    """Else a healthy server is restarted because looking at it is dear.

    Seen in a unit without AF_NETLINK at WatchdogSec=1s: its rounds had 250 ms, and the second look
    was due after 320 ms.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        probe = tcp(listener.getsockname()[1])
        sockets = Rationed()
        sample = attempt(probe, targets(sockets=sockets), timeout_s=0.05)
    assert sample.outcome is Outcome.PASSED
    assert sockets.looks == 2


def test_a_listener_that_is_closed_between_two_looks_is_no_pass(
    tcp: Callable[..., TcpProbe],
    targets: Callable[..., Target],
    attempt: Callable[..., Sample],
) -> None:
    """A server that closes its sockets to reload would be told ready before it has done so."""
    listener = socket.create_server(("127.0.0.1", 0))
    probe = tcp(listener.getsockname()[1])
    sample = attempt(probe, targets(sockets=Closing(listener)))
    assert sample.outcome is Outcome.FAILED
