"""Commands that must not outlive harden, however that ends: an exercise, a copy in the making."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from notifywrap.harden.sweeper import MARK, end_processes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from notifywrap.harden.trial import Copy

__all__ = ["TOO_LONG", "run_guarded", "see_copies"]

TOO_LONG = 124  # as timeout(1) has it
_MOST = 65536  # bytes of what it prints, the last; Linux has as many in a pipe
_READ = 16384


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
    with subprocess.Popen(
        words,
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, MARK: f"{tag}.service"},
        start_new_session=True,
    ) as process:
        output = _Output(process)
        try:
            status = output.follow(limit_s)
        finally:
            if process.returncode is None:  # so the group is still its own
                os.killpg(process.pid, signal.SIGKILL)
            end_processes(tag)  # the background, too: the next round must not meet it
            process.wait()
        output.read()
    return status, output.tail.decode("utf-8", "replace")


class _Output:
    """What a command prints: read as it comes, so that a flood fills neither memory nor a disk.

    No file: who is killed before it is unlinked leaves it.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process, self._fd = process, process.stdout.fileno()
        self.tail = b""
        os.set_blocking(self._fd, False)

    def follow(self, limit_s: float | None) -> int:
        """The exit status as soon as the command ends, whoever still holds its stdout; TOO_LONG."""
        deadline = None if limit_s is None else time.monotonic() + limit_s
        pidfd = os.pidfd_open(self._process.pid)
        try:
            poll = select.poll()
            for fd in (pidfd, self._fd):
                poll.register(fd, select.POLLIN)
            while (status := self._process.poll()) is None:
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return TOO_LONG
                ready = poll.poll(None if left_s is None else 1000 * left_s)
                if any(fd == self._fd for fd, _ in ready) and not self.read():
                    poll.unregister(self._fd)  # its HUP would be reported for ever
        finally:
            os.close(pidfd)
        return status

    def read(self) -> bool:
        """All that is there by now, the last of it kept; False when nobody can write any more."""
        for _ in range(_MOST // _READ):  # what is in a pipe; a flood must not keep us here
            try:
                data = os.read(self._fd, _READ)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.tail = (self.tail + data)[-_MOST:]
        return True
