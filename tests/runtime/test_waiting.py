"""What the wrapper does while nobody listens yet: counts, so that any machine agrees."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from notifywrap import probes
from notifywrap.policy.events import Again, OpenAttempt, Outcome
from notifywrap.policy.probe import LOOKUP_PACE, HttpProbe, ListenProbe, TcpProbe, UnixProbe
from notifywrap.probes.target import Target
from notifywrap.runtime.attempts import Attempts
from notifywrap.runtime.loop import Loop
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from notifywrap.policy.events import Sampled
    from notifywrap.policy.probe import Probe

LOOKS = 30


class Waiting:
    """Attempts at *probe* after one that found nobody; `heard` is what the machine is told."""

    def __init__(self, probe: Probe, looks_s: float = 60.0) -> None:
        self.probe = probe
        self.heard: list[Sampled] = []
        self.target = Target(os.getpid())
        self.loop = Loop()
        self.attempts = Attempts(self.loop, self.target, self.heard.append)
        self.attempts.open(OpenAttempt(1, probe, 5.0), time.monotonic())
        self.turn_until_told()
        first = self.heard.pop().sample
        assert first.unheard
        since = time.monotonic()
        again = Again(LOOKUP_PACE, since, first.reason, looks_s)
        self.attempts.open(OpenAttempt(2, probe, 5.0, again), since)

    def turn(self) -> None:
        """As the supervisor does it."""
        late_s = self.loop.wait(self.attempts.next_deadline())
        self.attempts.wake(time.monotonic(), late_s)

    def turn_until_told(self) -> None:
        deadline = time.monotonic() + 20
        while not self.heard:
            assert time.monotonic() < deadline, "nothing is reported"
            self.turn()


def probes_of(port: int, path: Path) -> dict[str, Probe]:
    return {
        "listen": ListenProbe("x", port=port),
        "tcp": TcpProbe("x", (("127.0.0.1", port),)),
        "localhost": TcpProbe("x", (("127.0.0.1", port), ("::1", port))),
        "http": HttpProbe("x", "h", "/", (("127.0.0.1", port),)),
        "unix": UnixProbe("x", str(path / "sock")),
    }


KINDS = ("listen", "tcp", "localhost", "http", "unix")


@pytest.mark.parametrize("kind", KINDS)
def test_while_nobody_listens_nothing_is_decided_and_no_attempt_is_made(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A hundred times a second for a start of a minute: each look must be cheap."""
    waiting = Waiting(probes_of(free_port(), tmp_path)[kind])
    made: list[Probe] = []
    monkeypatch.setattr(probes, "open_attempt", lambda probe, _: made.append(probe))
    for _ in range(LOOKS):
        waiting.turn()
    assert (waiting.heard, made) == ([], [])


@pytest.mark.parametrize("kind", KINDS)
def test_who_begins_to_listen_is_found(kind: str, tmp_path: Path):
    """Looking is only for as long as nobody is there."""
    port = free_port()
    waiting = Waiting(probes_of(port, tmp_path)[kind])
    waiting.turn()
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family) as server:
        server.bind(str(tmp_path / "sock") if kind == "unix" else ("127.0.0.1", port))
        server.listen()
        if kind == "listen":
            waiting.turn_until_told()
        else:
            while waiting.loop._calls == {}:  # it is connected, and waits for an answer
                waiting.turn()
            server.accept()[0].close()
            waiting.turn_until_told()
    assert waiting.heard[0].attempt == 2
    assert waiting.heard[0].sample.outcome is not Outcome.BROKEN


def test_a_listener_that_no_look_can_see_is_found_all_the_same():
    """DNAT on the loopback, a socket lookup by BPF: the kernel's tables are not all there is."""
    port = free_port()
    waiting = Waiting(TcpProbe("x", (("127.0.0.1", port),)), looks_s=0.05)
    sockets = waiting.target.sockets()
    sockets.is_deaf = lambda *_: True  # type: ignore[method-assign]
    with socket.create_server(("127.0.0.1", port)) as server:
        while waiting.loop._calls == {} and not waiting.heard:
            waiting.turn()
        server.accept()[0].close()
        waiting.turn_until_told()
    assert waiting.heard[0].sample.outcome is Outcome.PASSED


def test_another_reason_is_told():
    """STATUS says why it waits: that must not be what was so a minute ago."""
    port = free_port()
    waiting = Waiting(ListenProbe("x", port=port))
    running = waiting.attempts._running[2]
    running.action = running.action._replace(again=running.action.again._replace(reason="else"))
    running.looks_until = 0.0
    waiting.turn_until_told()
    assert waiting.heard[0].sample.unheard


@pytest.mark.parametrize("address", [("127.0.0.1", "127.0.0.1"), ("", "127.0.0.1"), ("::", "::1"),
                                     ("::", "127.0.0.1"), ("::1", "::1")])  # fmt: skip
def test_a_look_sees_who_would_get_the_connection(address: tuple[str, str]):
    """Bound to any address, or to IPv6 with IPv4 in it: to connect would find him as well."""
    bound, asked = address
    port = free_port()
    sockets = Target().sockets()
    assert sockets.is_deaf(asked, port)
    with socket.socket(socket.AF_INET6 if ":" in bound else socket.AF_INET) as server:
        if ":" in bound:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((bound, port))
        assert sockets.is_deaf(asked, port)  # bound, and not listening yet
        assert sockets.is_silent(port)
        server.listen()
        assert not sockets.is_deaf(asked, port)
        assert not sockets.is_silent(port)
    sockets.close()
