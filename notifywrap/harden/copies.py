"""The throwaway copies that a round writes to, made anew for each."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from notifywrap.errors import NotifywrapError
from notifywrap.harden.guarded import run_guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from notifywrap.harden.sweeper import Sweeper
    from notifywrap.harden.trial import Copy

__all__ = ["Copies"]


class Copies:
    """Copies of what the service writes to.

    is_empty  nothing is copied: directories are made empty
    """

    def __init__(self, copies: Sequence[Copy], tag: str, *, is_empty: bool) -> None:
        self._copies, self._tag = tuple(copies), tag
        self._is_empty = is_empty

    def size(self) -> int:
        """How many bytes are copied for each round, as du(1) counts them."""
        if self._is_empty:
            return 0
        return sum(_size(os.path.realpath(each.path)) for each in self._copies)

    def make_places(self, sweeper: Sweeper) -> None:
        """Where a copy is mounted there must be something: an empty directory, until the end."""
        for each in self._copies:
            path = os.path.realpath(each.path)
            if each.is_directory_of_systemd and not os.path.exists(path):
                missing = [path]
                while not os.path.exists(os.path.dirname(missing[-1])):
                    missing.append(os.path.dirname(missing[-1]))
                for one in reversed(missing):
                    sweeper.makes(one)
                    os.mkdir(one, 0o755)

    def renew(self) -> None:
        """Put fresh copies in place. Raises NotifywrapError when there is no room, for example."""
        self.remove()
        for each in self._copies:
            source = os.path.realpath(each.path)
            if each.path.startswith("/run/") and each.is_directory_of_systemd:
                continue  # a service finds it empty
            if self._is_empty or not os.path.exists(source):
                if not each.is_directory_of_systemd:
                    _make_empty(source, each.copy)
                continue
            self._copy(source, each.copy)

    def remove(self) -> None:
        """Take them away; what is not there is no error."""
        for each in self._copies:
            base, name = os.path.split(each.copy)
            # systemd moves it below private/ where DynamicUser= is tried, and leaves a link.
            for path in (each.copy, f"{base}/private/{name}"):
                if os.path.islink(path) or os.path.isfile(path):
                    os.unlink(path)
                else:
                    shutil.rmtree(path, ignore_errors=True)

    def _copy(self, source: str, target: str) -> None:
        # cp(1) keeps owners, holes, links and extended attributes, and shares blocks where it can.
        words = ["cp", "-a", "--reflink=auto", "-T", "--", source, target]
        status, out = run_guarded(words, self._tag)
        if status != 0:
            said = out.strip().rpartition("\n")[2]
            raise NotifywrapError(f"cannot copy {source!r} for a round: {said} (see --state none)")


def _make_empty(source: str, target: str) -> None:
    known = os.stat(source)
    if os.path.isdir(source):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    os.chown(target, known.st_uid, known.st_gid)
    os.chmod(target, known.st_mode & 0o7777)


def _size(path: str) -> int:
    done = subprocess.run(
        ["du", "-sk", "--", path], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    word = done.stdout.split(b"\t")[0]
    return int(word) * 1024 if word.isdigit() else 0
