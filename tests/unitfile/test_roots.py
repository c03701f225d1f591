"""A root put together with BindReadOnlyPaths=: which pieces a program needs, tried."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest

from notifywrap.cli.check import understand
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load_named, parse_unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from notifywrap.unitfile.findings import Finding
    from tests.conftest import Lab

PIECES = [
    "/usr",
    "/usr /lib",
    "/usr /lib64",
    "/usr /lib /lib64",
    "/usr /lib -/lib64",
    "/usr/bin/sleep /usr/lib",
    "/usr/bin/sleep /usr/lib /lib /lib64",
    "/usr/bin:/usr/bin /usr/lib:/lib /usr/lib64:/lib64:norbind",
    "/usr/bin /usr/lib /usr/lib64",
    "/:/",
]
ROOTS = {"empty": {}, "symlinks": {"lib": "usr/lib", "lib64": "usr/lib64"}}


@pytest.fixture
def root(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory with these symlinks in it, for RootDirectory=/opt/new-root."""
    root = lab.root / "opt/new-root"
    root.mkdir()
    for name, goal in ROOTS[request.param].items():
        (root / name).symlink_to(goal)
    yield root
    lab.run("rm", "-r", "--one-file-system", "/opt/new-root", check=True)


def text_of(pieces: str) -> str:
    return (
        f"[Service]\nType=oneshot\nRootDirectory=/opt/new-root\nBindReadOnlyPaths={pieces}\n"
        "ExecStart=/usr/bin/sleep 0\n"
    )


def of_loader(found: list[Finding]) -> bool:
    return "root-without-loader" in [each.rule for each in found]


@pytest.mark.systemd
@pytest.mark.skipif(platform.machine() != "x86_64", reason="elsewhere there is no /lib64")
@pytest.mark.parametrize("root", ROOTS, indirect=True)
@pytest.mark.parametrize("pieces", PIECES)
def test_a_root_without_the_loader_is_what_systemd_cannot_start(lab: Lab, root: Path, pieces: str):
    """`No such file or directory` about a program that is there."""
    lab.install("t-root.service", text_of(pieces))
    failed = lab.systemctl("start", "t-root.service").returncode != 0
    assert of_loader(lint(load_named("t-root.service", str(lab.root)), understand)) == failed


@pytest.mark.parametrize("pieces", PIECES)
def test_where_nothing_is_known_of_the_root_it_is_a_hint(pieces: str):
    """It may have symlinks, and the machine another processor; and a whole system may lie there."""
    unit = parse_unit(text_of(pieces))
    assert {each.severity.value for each in lint(unit, understand)} <= {"hint"}
    assert not of_loader(lint(parse_unit(text_of("/srv/data")), understand))
