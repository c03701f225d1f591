"""Callers that give what they should not, and a systemd that is slow: nothing but NotifyError."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

import notifywrap
from notifywrap.daemon.notifier import LONGEST_WAIT_S, Notifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runtime.wrapped import Inbox


@pytest.fixture
def notifier(inbox: Inbox) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": inbox.path, "WATCHDOG_USEC": "2000000"})


# --- arguments ------------------------------------------------------------------------------------

ODD: dict[str, Callable[[Notifier], object]] = {
    "status None": lambda n: n.status(None),  # type: ignore[arg-type]
    "status int": lambda n: n.status(3),  # type: ignore[arg-type]
    "status bytes": lambda n: n.status(b"up"),  # type: ignore[arg-type]
    "ready bytes": lambda n: n.ready(b"up"),  # type: ignore[arg-type]
    "stopping int": lambda n: n.stopping(3),  # type: ignore[arg-type]
    "reload int": lambda n: n.reload(3).__enter__(),  # type: ignore[arg-type]
    "extend None": lambda n: n.extend_timeout(None),  # type: ignore[arg-type]
    "extend text": lambda n: n.extend_timeout("3"),  # type: ignore[arg-type]
    "extend nan": lambda n: n.extend_timeout(float("nan")),
    "extend inf": lambda n: n.extend_timeout(float("inf")),
    "extend negative": lambda n: n.extend_timeout(-1.0),
    "errno text": lambda n: n.errno("ENOSPC"),  # type: ignore[arg-type]
    "errno None": lambda n: n.errno(None),  # type: ignore[arg-type]
    "errno negative": lambda n: n.errno(-28),
    "main_pid None": lambda n: n.main_pid(None),  # type: ignore[arg-type]
    "main_pid 0": lambda n: n.main_pid(0),
    "store None": lambda n: n.store_fds(None),  # type: ignore[arg-type]
    "store text": lambda n: n.store_fds(["state"]),  # type: ignore[list-item]
    "store negative": lambda n: n.store_fds([-1]),
    "store huge": lambda n: n.store_fds([2**40]),
    "store name": lambda n: n.store_fds([0], 3),  # type: ignore[arg-type]
    "remove None": lambda n: n.remove_fds(None),  # type: ignore[arg-type]
    "barrier None": lambda n: n.barrier(None),  # type: ignore[arg-type]
    "barrier nan": lambda n: n.barrier(float("nan")),
}


@pytest.mark.parametrize("how", ODD)
@pytest.mark.parametrize("systemd", [True, False])
def test_wrong_argument_is_an_error_of_ours(inbox: Inbox, how: str, systemd: bool):
    """Known without systemd as well: the mistake shows on the developer's own machine."""
    notifier = Notifier({"NOTIFY_SOCKET": inbox.path} if systemd else {})
    with pytest.raises(notifywrap.NotifyError):
        ODD[how](notifier)
    assert inbox.drain() == []


def test_closed_file_cannot_be_stored(inbox: Inbox, notifier: Notifier, tmp_path: Path):
    """The text says that it is the file, and not systemd's socket."""
    file = (tmp_path / "state").open("w")
    number = file.fileno()
    file.close()
    for one in (file, number):
        with pytest.raises(notifywrap.NotifyError, match=r"not open|closed"):
            notifier.store_fds([one])
    assert inbox.drain() == []


@pytest.mark.parametrize("timeout_s", [-1.0, 0.0, 1e-9])
def test_barrier_without_time_does_not_wait_for_ever(notifier: Notifier, timeout_s: float):
    """poll(2) takes a negative time for "as long as it takes"."""
    with pytest.raises(notifywrap.NotifyError, match="within"):
        notifier.barrier(timeout_s)


def test_barrier_may_have_all_the_time_there_is(notifier: Notifier):
    """Where there is no systemd nothing is waited for; a C int holds no such number."""
    assert Notifier({}).barrier(1e30) is False


@pytest.mark.parametrize("address", ["/run/a\0b", "@a\0b", "/\ud800", "@\ud800"], ids=ascii)
def test_address_that_no_socket_has_is_an_error_of_ours(address: str):
    """Only an explicit environment can hold it."""
    with pytest.raises(notifywrap.NotifyError, match="not an address"):
        Notifier({"NOTIFY_SOCKET": address})


def test_no_descriptors_left_is_an_error_of_ours(notifier: Notifier, monkeypatch):
    """A daemon that leaks descriptors has other troubles already."""

    def full(_: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", full)
    with pytest.raises(notifywrap.NotifyError, match="too many open files"):
        notifier.barrier()


def test_daemon_that_closes_all_descriptors_is_still_heard(inbox: Inbox, notifier: Notifier):
    """As those do that turn themselves into daemons. The number is a connection's by now: nothing
    gets into that, and it stays open."""
    notifier.status("before")
    number = notifier._sender._socket.fileno()  # type: ignore[union-attr]
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
    os.dup2(client.fileno(), number)
    assert notifier.status("after") is True
    assert [message["STATUS"] for message in inbox.drain()] == ["before", "after"]
    client.close()
    os.write(number, b"mine")
    os.close(number)
    assert peer.makefile().read() == "mine"
    peer.close()


# --- a slow systemd -------------------------------------------------------------------------------


def test_full_queue_is_waited_for_100_ms_at_most(inbox: Inbox, notifier: Notifier, monkeypatch):
    """All pauses together; what is measured elsewhere depends on the machine's load."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    clock = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock + sum(pauses))
    inbox.stuff()
    with pytest.raises(notifywrap.NotifyError, match="queue"):
        notifier.ready()
    assert 0 < sum(pauses) <= LONGEST_WAIT_S == 0.1


def test_exception_of_a_reload_goes_on_when_systemd_cannot_be_told(inbox: Inbox, notifier):
    """The daemon catches its own; NotifyError in its place would be a surprise."""

    def reload() -> None:
        with notifier.reload():
            inbox.vanish()
            raise KeyError("port")

    with pytest.raises(KeyError, match="port") as caught:
        reload()
    assert (
        "cannot reach systemd" in caught.value.__notes__[0] or "queue" in caught.value.__notes__[0]
    )


class Unprintable(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_exception_without_words_ends_a_reload(inbox: Inbox, notifier: Notifier):
    """READY=1 comes all the same, and the exception goes on."""

    def reload() -> None:
        with notifier.reload():
            raise Unprintable

    with pytest.raises(Unprintable):
        reload()
    assert inbox.wait("READY")["STATUS"] == "reload failed: Unprintable"
