"""An intruder as the target, in a jail, on this kernel or on one with an older Landlock."""

from __future__ import annotations

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


class Jailed(Wrapped):
    """The intruder, in a jail."""

    def __init__(self, *options: str, **more: Any) -> None:
        super().__init__(INTRUDER, "--ready", "alive", *options, **more)

    def __enter__(self) -> Jailed:
        super().__enter__()
        assert self.line() == "ready"
        return self

    def attempt(self, *words: object) -> str:
        """What came of it: "ok", or the errno's name."""
        self.tell(" ".join(map(str, words)))
        return self.line().partition(" ")[0]
