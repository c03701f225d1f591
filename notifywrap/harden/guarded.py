"""Commands that must not outlive harden, however that ends: an exercise, a copy in the making."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from typing import TYPE_CHECKING

from notifywrap.harden.sweeper import MARK, end_processes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from notifywrap.harden.trial import Copy

__all__ = ["TOO_LONG", "run_guarded", "see_copies"]

TOO_LONG = 124  # as timeout(1) has it
_MOST = 65536  # bytes of what it prints, the last


def see_copies(command: str, copies: Sequence[Copy]) -> list[str]:
    """A command for sh, to which the copies of a round look like the service's own directories.

    Its socket in /run is there, and what it has written; and real data is out of reach.
    """
    mounts = [
        f"mount -n --bind {shlex.quote(each.copy)} {shlex.quote(os.path.realpath(each.path))} && "
        for each in copies
        if os.path.exists(each.copy)
    ]
    if not mounts:
        return ["sh", "-c", command]
    return ["unshare", "--mount", "sh", "-c", f'{"".join(mounts)}exec sh -c "$1"', "sh", command]


def run_guarded(words: Sequence[str], tag: str, *, limit_s: float | None = None) -> tuple[int, str]:
    """(exit status, end of stdout and stderr) of a command; all that it has started ends with it.

    tag  the round's unit without its suffix: all that is started is known by it

    TOO_LONG when it has not ended in time.
    """
    # A file and no pipe: what the command leaves in the background must not be waited for.
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, MARK: f"{tag}.service"},
            start_new_session=True,
        )
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = TOO_LONG
        finally:
            end_processes(tag)  # the background, too: the next round must not meet it
            process.wait()
        out.seek(max(0, out.seek(0, os.SEEK_END) - _MOST))
        return status, out.read().decode("utf-8", "replace")
