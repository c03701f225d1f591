"""What `harden` tells of its run, and the files that it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from notifywrap.errors import NotifywrapError
from notifywrap.harden.progress import format_bar
from notifywrap.harden.report import format_summary, write_files

if TYPE_CHECKING:
    from pathlib import Path

DROP_IN = "web.service.d/50-harden.conf"


def document(**changes: Any) -> dict[str, Any]:
    return {
        "unit": "web.service",
        "rounds": 21,
        "seconds": 43.21,
        "exposure": {"before": 9.6, "after": 1.1},
        "drill": {"before": 57, "after": 7, "of": 66},
        "kept": [{"name": "ProtectHome"}, {"name": "PrivateTmp"}],
        "rejected": [{"name": "PrivateNetwork", "reasons": ["'curl ...' ended with 7"]}],
        "untried": [],
        "verified": True,
        "interrupted": False,
        "files": {DROP_IN: "[Service]\nProtectHome=yes\n", "web-80.socket": "[Socket]\n"},
        **changes,
    }


def test_summary_says_before_after_and_what_was_rejected_for_which_reason() -> None:
    assert format_summary(document()) == [
        "web.service: 21 rounds, 43 s",
        "exposure 9.6 -> 1.1",
        "what an intruder could do (notifywrap drill): 57 -> 7 of 66",
        "kept: 2, rejected: 1",
        "rejected PrivateNetwork: 'curl ...' ended with 7",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verified": False}, "do not use it as it is"),
        ({"verified": False, "interrupted": True}, "interrupted: what was proven"),
        ({"untried": ["PrivateUsers", "jail"]}, "not tried: PrivateUsers, jail (see --max-rounds)"),
    ],
)
def test_summary_says_what_the_result_is_worth(changes: dict[str, Any], said: str) -> None:
    """Nobody reads the comments of a drop-in before it is installed."""
    assert any(said in line for line in format_summary(document(**changes)))


def test_what_could_not_be_measured_is_left_out() -> None:
    """Before systemd 250 there is no exposure of a file."""
    nothing = {"before": None, "after": None, "of": 66}
    said = "\n".join(format_summary(document(exposure=nothing, drill=nothing)))
    assert "exposure" not in said
    assert "intruder" not in said
    assert "None" not in said


def test_files_are_written_where_systemd_reads_them(tmp_path: Path) -> None:
    written = write_files(document(), str(tmp_path))
    assert written == [str(tmp_path / "web-80.socket"), str(tmp_path / DROP_IN)]
    assert (tmp_path / DROP_IN).read_text() == "[Service]\nProtectHome=yes\n"
    assert write_files(document(), str(tmp_path)) == written, "the same text is no conflict"


def test_a_file_that_differs_is_left_alone_and_nothing_else_is_written(tmp_path: Path) -> None:
    """It is an administrator's, or the result of an earlier run that somebody has edited."""
    (tmp_path / "web-80.socket").write_text("mine\n")
    with pytest.raises(NotifywrapError, match=r"--output: .*web-80\.socket' is there already"):
        write_files(document(), str(tmp_path))
    assert not (tmp_path / DROP_IN).exists()
    assert (tmp_path / "web-80.socket").read_text() == "mine\n"


@pytest.mark.parametrize("done", [0, 6, 12, 40])
def test_the_bar_is_as_long_as_ever(done: int) -> None:
    """Also when the estimate turns out to be wrong."""
    bar = format_bar(done, 12, 14.4, 3.2)
    assert bar.index("]") == 25
    assert bar.endswith(f"] round {done} of about 12, 14 s left, exposure 3.2")
