"""The copies that rounds write to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from notifywrap.errors import NotifywrapError
from notifywrap.harden.copies import Copies
from notifywrap.harden.trial import Copy

if TYPE_CHECKING:
    from pathlib import Path

TAG = "notifywrap-test-copies"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A state directory with all that cp(1) may get wrong."""
    data = tmp_path / "web"
    (data / "deep").mkdir(parents=True)
    (data / "deep/file").write_text("content")
    (data / "deep/file").chmod(0o640)
    (data / "link").symlink_to("/etc/hostname")
    return data


def test_a_copy_is_the_same_and_the_original_is_not_touched(data: Path, tmp_path: Path) -> None:
    before = os.stat(data / "deep/file")
    copies = Copies([Copy(str(data), str(tmp_path / "copy"), True)], TAG, is_empty=False)
    copies.renew()
    (tmp_path / "copy/deep/file").write_text("changed")
    assert (data / "deep/file").read_text() == "content"
    assert (tmp_path / "copy/link").is_symlink()
    assert os.stat(tmp_path / "copy/deep/file").st_mode == before.st_mode
    assert os.stat(data / "deep/file").st_mtime_ns == before.st_mtime_ns


def test_each_round_finds_a_fresh_one(data: Path, tmp_path: Path) -> None:
    """What one round wrote must not make the next one fail, or pass."""
    copies = Copies([Copy(str(data), str(tmp_path / "copy"), True)], TAG, is_empty=False)
    copies.renew()
    (tmp_path / "copy/left").write_text("by the round before")
    copies.renew()
    assert sorted(os.listdir(tmp_path / "copy")) == ["deep", "link"]
    copies.remove()
    assert not (tmp_path / "copy").exists()
    copies.remove()


def test_without_state_other_paths_are_empty_with_their_owner(data: Path, tmp_path: Path) -> None:
    """--state none: systemd makes its own directories; a path of --copy has to be there."""
    data.chmod(0o711)
    copies = Copies([Copy(str(data), str(tmp_path / "copy"), False)], TAG, is_empty=True)
    assert copies.size() == 0
    copies.renew()
    assert os.listdir(tmp_path / "copy") == []
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o711


def test_a_copy_that_cannot_be_made_says_why(data: Path, tmp_path: Path) -> None:
    """A full disk, for one."""
    copies = Copies([Copy(str(data), str(tmp_path / "missing/copy"), True)], TAG, is_empty=False)
    with pytest.raises(NotifywrapError, match=r"cannot copy .*web.*: .*No such file"):
        copies.renew()
