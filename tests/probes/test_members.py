"""Whose process is it? Asked for each message that another process than the target sends."""

from __future__ import annotations

import itertools
import os
import socket
import time

import pytest

from notifywrap.probes import tree
from notifywrap.probes.target import Target

NOBODY = 2**22 + 1  # one more than the largest pid that a kernel gives


def test_a_chain_that_is_made_too_long_is_not_followed(monkeypatch: pytest.MonkeyPatch):
    """Each parent costs a read: an intruder could make each of his messages cost thousands."""
    asked: list[int] = []
    monkeypatch.setattr(tree, "_parent", lambda pid: asked.append(pid) or pid + 1)
    with pytest.raises(ProcessLookupError):
        tree.is_member(Target(NOBODY), 1000)
    assert len(asked) < 100


def test_a_parent_that_ends_while_we_look_is_no_obstacle(monkeypatch: pytest.MonkeyPatch):
    """Its children have another parent by then: the wrapper, where it was the target's."""
    parents = iter([500, FileNotFoundError, os.getpid()])

    def parent(pid: int) -> int:
        found = next(parents)
        if found is FileNotFoundError:
            raise FileNotFoundError
        return found

    monkeypatch.setattr(tree, "_parent", parent)
    assert tree.is_member(Target(NOBODY), 600)


def test_the_wrapper_and_all_above_it_are_not_of_the_tree():
    """They are what the target is a child of."""
    for pid in (os.getpid(), os.getppid(), 1, 0):
        assert not tree.is_member(Target(NOBODY), pid)


def test_holder_is_found_on_a_busy_machine_too(monkeypatch):
    """Others that have the cores are no reason not to say who has the port."""
    clock = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with socket.create_server(("127.0.0.1", 0)) as held:
        assert tree.holder(os.fstat(held.fileno()).st_ino, 5.0).startswith(f"pid {os.getpid()} ")
