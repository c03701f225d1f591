"""A daemon that changes an import keeps working as it did."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from notifywrap.compat import daemon, sdnotify
from notifywrap.errors import NotifyError

if TYPE_CHECKING:
    from tests.runtime.wrapped import Inbox


@pytest.fixture(autouse=True)
def no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs these tests may have one."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


@pytest.fixture
def under_systemd(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", inbox.path)


@pytest.mark.usefixtures("under_systemd")
def test_sdnotify_sends_what_it_is_given(inbox: Inbox):
    """Several lines at once, as its users write them."""
    with sdnotify.SystemdNotifier() as notifier:
        notifier.notify("READY=1\nSTATUS=up")
    assert inbox.next() == {"READY": "1", "STATUS": "up"}


def test_sdnotify_is_silent_without_systemd_unless_told_otherwise():
    """The original's debug= decides."""
    sdnotify.SystemdNotifier().notify("READY=1")
    with pytest.raises(NotifyError):
        sdnotify.SystemdNotifier(debug=True)


@pytest.mark.usefixtures("under_systemd")
def test_daemon_notify_says_whether_systemd_has_it(inbox: Inbox):
    """True, and False without one."""
    assert daemon.notify("READY=1") is True
    assert daemon.notify("STOPPING=1", unset_environment=True) is True
    assert daemon.notify("STATUS=x") is False
    assert inbox.drain() == [{"READY": "1"}, {"STOPPING": "1"}]


@pytest.mark.usefixtures("under_systemd")
def test_daemon_notify_takes_the_arguments_of_the_original(inbox: Inbox):
    """By position and by name: the same calls, the same results, the same datagrams."""
    original = pytest.importorskip("systemd.daemon", reason="systemd-python is not installed")
    for notify in (original.notify, daemon.notify):
        assert notify("READY=1", False, os.getpid()) is True
        assert notify(status="STATUS=x", unset_environment=False, pid=0) is True
    first, second, third, fourth = inbox.drain()
    assert (first, second) == (third, fourth)
    assert daemon.booted() == bool(original.booted())


@pytest.mark.usefixtures("under_systemd")
def test_daemon_notify_does_not_speak_for_others():
    """It needs privileges that a daemon should not have."""
    with pytest.raises(OSError, match="MAINPID"):
        daemon.notify("READY=1", pid=os.getppid())
