"""What `tcp:` makes of each answer of the kernel: prepared ones, that no server here can show."""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING

import pytest

from notifywrap.policy.events import Outcome
from notifywrap.probes import open_attempt
from notifywrap.probes.sockets import ESTABLISHED, LISTEN, SYN_RECV, KernelSockets, Listener, TcpEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.policy.probe import TcpProbe

FIN_WAIT2 = 5
CLOSE_WAIT = 8


class Table(KernelSockets):
    """A kernel whose answer is prepared, for the rows that no server here can show."""

    def __init__(self, end: TcpEnd | None, listeners: list[Listener] | None = None) -> None:
        self.end = end
        self.listeners = listeners or []

    def tcp_end(
        self,
        here: tuple[str, int],  # noqa: ARG002
        there: tuple[str, int],  # noqa: ARG002
    ) -> TcpEnd | None:
        return self.end

    def tcp_listeners(self, port: int = 0) -> list[Listener]:
        return [listener._replace(port=port) for listener in self.listeners]


FULL = Listener("127.0.0.1", 0, "", 1, 0, queued=2, limit=1)
ROOMY = FULL._replace(queued=0)


@pytest.mark.parametrize(
    ("end", "listeners", "outcome", "has_note"),
    [
        (TcpEnd(ESTABLISHED, 7), [], Outcome.PASSED, False),
        (TcpEnd(ESTABLISHED, 0), [], Outcome.TIMED_OUT, False),
        (TcpEnd(CLOSE_WAIT, 0), [], Outcome.TIMED_OUT, False),
        (TcpEnd(CLOSE_WAIT, 7), [], Outcome.PASSED, False),
        (TcpEnd(FIN_WAIT2, 0), [], Outcome.PASSED, False),
        (TcpEnd(SYN_RECV, 0), [FULL], Outcome.TIMED_OUT, False),
        (TcpEnd(SYN_RECV, 0), [FULL, ROOMY], Outcome.PASSED, True),
        (TcpEnd(SYN_RECV, 0), [], Outcome.TIMED_OUT, False),
        (TcpEnd(LISTEN, 1, 0, 1), [ROOMY], Outcome.PASSED, True),
        (TcpEnd(LISTEN, 1, 2, 1), [FULL], Outcome.TIMED_OUT, False),
        (None, [], Outcome.PASSED, True),
    ],
)
def test_the_table_of_design_section_5(
    listener: socket.socket,
    tcp: Callable[..., TcpProbe],
    attempt,
    targets,
    end,
    listeners,
    outcome,
    has_note,
):
    """Each answer that the kernel can give means one thing."""
    target = targets(sockets=Table(end, listeners))
    sample = attempt(tcp(listener.getsockname()[1]), target, timeout_s=0.1)
    assert (sample.outcome, bool(sample.note)) == (outcome, has_note)


@pytest.mark.parametrize(
    "first",
    [TcpEnd(LISTEN, 1, 0, 1), TcpEnd(SYN_RECV, 0), None],
    ids=["listener", "half open", "nowhere"],
)
def test_what_is_seen_for_an_instant_proves_nothing(
    listener, tcp, attempt, targets, monkeypatch, first
):
    """On a busy machine a look meets the moment in which the kernel puts the connection in the
    place of the half open one: then neither is in the table."""
    ends = iter([first])
    table = Table(None, [ROOMY])
    monkeypatch.setattr(table, "tcp_end", lambda *_: next(ends, TcpEnd(ESTABLISHED, 7)))
    sample = attempt(tcp(listener.getsockname()[1]), targets(sockets=table))
    assert (sample.outcome, sample.note) == (Outcome.PASSED, "")


@pytest.mark.parametrize(
    ("listeners", "outcome", "words"),
    [
        ([], Outcome.FAILED, "reset"),
        ([FULL], Outcome.FAILED, "full"),
        ([ROOMY], Outcome.PASSED, ""),
    ],
)
def test_a_reset_is_judged_by_the_listener_that_is_left(
    tcp, targets, drive, listeners, outcome, words
):
    """The listener is gone (crashed), overflowing (tcp_abort_on_overflow), or it just resets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = targets(sockets=Table(TcpEnd(ESTABLISHED, 0), listeners))
        attempt = open_attempt(tcp(server.getsockname()[1]), target)
        assert attempt.advance() is None
    poll = select.poll()
    poll.register(attempt.fileno(), select.POLLIN)
    assert poll.poll(5000)
    sample = drive(attempt).sample
    assert sample.outcome is outcome
    assert words in sample.reason


def test_nothing_but_the_connection_counts_where_the_kernel_may_not_be_asked(
    listener, tcp, attempt, targets
):
    """A strict sandbox must not stop a healthy service; that less was proven is said."""
    from notifywrap.probes.sockets import Blind

    target = targets(os.getpid(), sockets=Blind("all is barred"))
    sample = attempt(tcp(listener.getsockname()[1]), target)
    assert sample.outcome is Outcome.PASSED
    assert sample.note == "accepting is not verified: all is barred"


def test_an_attempt_that_cannot_be_made_is_broken(tcp, targets):
    """No free descriptor is our trouble: it says nothing about the target."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = targets()
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        sample = open_attempt(tcp(1), target).advance()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert sample is not None
    assert sample.outcome is Outcome.BROKEN
    assert "too many open files" in sample.reason
