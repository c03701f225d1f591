"""Nothing is left of a run, however it ends: processes, labs, temporary files."""

from __future__ import annotations

import ctypes
import os
import signal
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.bench.proc import end, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["tidied"]

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


@contextmanager
def tidied() -> Iterator[None]:
    """What is started inside ends with it, also what has lost its parent; so do its files.

    A stop signal is an exception, so that labs go down in good order first.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = [signal.signal(signum, _give_up) for signum in (signal.SIGTERM, signal.SIGHUP)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    usual = tempfile.tempdir
    try:
        with tempfile.TemporaryDirectory(prefix="notifywrap-bench-") as folder:
            tempfile.tempdir = folder
            try:
                yield
            finally:
                _sweep()
    finally:
        tempfile.tempdir = usual
        for signum, handler in zip((signal.SIGTERM, signal.SIGHUP), before, strict=True):
            signal.signal(signum, handler)


def _give_up(signum: int, _frame: object) -> None:
    raise SystemExit(128 + signum)


def _sweep() -> None:
    """Until there is no child: one that is killed may leave us its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second ^C must not stop this
    while children := tree(os.getpid())[1:]:
        end(*children)
    signal.signal(signal.SIGINT, signal.default_int_handler)
