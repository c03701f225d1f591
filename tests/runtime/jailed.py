"""An intruder as the target, in a jail, on this kernel or on one with an older Landlock."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import pytest

from tests.runtime.wrapped import START, Wrapped, target

REAL = os.path.realpath(sys.executable)  # a virtual environment's python is a link to it
INTRUDER = [REAL, *target("intruder")[1:]]

# What is asked of the kernel, and what it is asked for, follows from this.
_OLDER = """\
import notifywrap.runtime.landlock as landlock
landlock.find_abi = lambda: ({abi}, "this kernel has no Landlock" * (not {abi}))
"""

x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="another machine's calls")


def start_of(abi: int) -> str:
    """The wrapper on a kernel with this Landlock ABI; 0 for one without Landlock."""
    return _OLDER.format(abi=abi) + START


def without_map_files() -> None:
    """As units do with CapabilityBoundingSet=: else root is told at each start what it can do.

    PR_CAPBSET_DROP of CAP_SYS_ADMIN and CAP_CHECKPOINT_RESTORE; whoever is not root lacks both.
    """
    for capability in (21, 40):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


class Jailed(Wrapped):
    """The intruder, in a jail."""

    def __init__(self, *options: str, **more: Any) -> None:
        more = {"preexec_fn": without_map_files, **more}
        super().__init__(INTRUDER, "--ready", "alive", *options, **more)

    def __enter__(self) -> Jailed:
        super().__enter__()
        assert self.line() == "ready"
        return self

    def attempt(self, *words: object) -> str:
        """What came of it: "ok", or the errno's name."""
        self.tell(" ".join(map(str, words)))
        return self.line().partition(" ")[0]
