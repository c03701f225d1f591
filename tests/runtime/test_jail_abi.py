"""Files in a jail on each Landlock that a kernel may have: what it can enforce is denied, and what
it cannot is said at start."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.runtime.jailed import INTRUDER, Jailed, start_of

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = "/dev/zero"  # to be read by everybody
# The first ABI that denies it (linux/landlock.h), and what the start says on an older one.
SINCE = {
    "read": (1, "read"),
    "list": (1, "read"),
    "write": (1, "write"),
    "remove": (1, "write"),
    "mkdir": (1, "write"),
    "truncate": (3, "truncating files by their path"),
    "ioctl": (5, "ioctl(2) on devices"),
}
ALLOWED = dict.fromkeys(SINCE, "ok") | {"ioctl": "ENOTTY"}  # the device's own answer
DENIED = "EACCES"
OF_LANDLOCK = {word for _, word in SINCE.values()}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Files of others; what an attempt has removed or made is as it was before the next."""
    (tmp_path / "outside").mkdir()
    for name in ("read", "write", "remove", "truncate"):
        (tmp_path / "outside" / name).write_text("of others")
    return tmp_path / "outside"


def try_all(jailed: Jailed, outside: Path) -> dict[str, str]:
    paths = {name: str(outside / name) for name in SINCE} | {"list": str(outside)}
    paths["ioctl"] = DEVICE
    return {name: jailed.attempt(name, path) for name, path in paths.items()}


def said_at_start(jailed: Jailed) -> set[str]:
    """The parts of "not enforced here", without their reasons."""
    jailed.signal(15)
    jailed.end()
    line = re.search(r"not enforced here: (.*)", jailed.errors)
    bare = re.sub(r" \((needs|this) [^)]*\)", "", line[1]) if line else ""
    return set(re.split(r", |; ", bare)) & OF_LANDLOCK


@pytest.mark.parametrize("abi", range(8))
def test_files_are_denied_as_far_as_the_kernel_can_and_the_rest_is_said(
    tmp_path: Path, outside: Path, abi: int
):
    """A gap that nobody is told of is one that nobody closes in another way."""
    (tmp_path / "own").mkdir()
    rules = f"read={INTRUDER[-1]},read=/usr,write={tmp_path}/own"
    with Jailed(f"--jail={rules}", start=start_of(abi)) as jailed:
        came = try_all(jailed, outside)
        denied = {name: DENIED for name, (since, _) in SINCE.items() if abi >= since}
        assert came == {**ALLOWED, **denied}
        assert jailed.attempt("write", tmp_path / "own/x") == "ok"
        assert jailed.attempt("truncate", tmp_path / "own/x") == "ok"
        assert jailed.attempt("read", tmp_path / "own/x") == "ok"
        missing = {word for since, word in SINCE.values() if abi < since}
        assert said_at_start(jailed) == (missing if abi else {"read", "write"})


@pytest.mark.parametrize("abi", [1, 5])
def test_without_a_rule_for_files_none_is_denied(outside: Path, abi: int):
    """The default leaves files alone, on every kernel."""
    with Jailed("--jail", start=start_of(abi)) as jailed:
        assert try_all(jailed, outside) == ALLOWED
        assert said_at_start(jailed) == set()
