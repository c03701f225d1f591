"""Does a command end with status 0. It runs in its own process group and leaves nothing behind.

Who reaps: whoever is first. The attempt polls a pidfd and waits for its own child by pid, never for
any other; a supervisor that reaps everything (waitpid(-1)) says what it got with reaped(). Done
together, nothing is lost and nothing is taken away.
"""

from __future__ import annotations

import select

from notifywrap.lean import TYPE_CHECKING, os, signal
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes import Attempt, why

if TYPE_CHECKING:
    from notifywrap.policy.probe import ExecProbe
    from notifywrap.probes.target import Target

__all__ = ["ExecAttempt"]

_KEPT = 1024  # bytes from the end of what the command printed
_SHOWN = 160
_READ_SIZE = 16384
_MOST_READS = 64  # at one go: a command that prints without end must not keep the loop
_KILL_GRACE_MS = 20
# And NOTIFY_SOCKET: a probe must not speak for the service.
_PRIVATE = ("WATCHDOG_", "LISTEN_", "NOTIFYWRAP_")


class ExecAttempt(Attempt):
    """Passes when the command exits with 0; what it printed last is the reason when it does not."""

    def __init__(self, probe: ExecProbe, target: Target) -> None:
        self._strangers = target.strangers
        self._failure: Sample | None = None
        self._status: int | None = None
        self._printed = b""
        self._pidfd = self._output = -1
        self._epoll: select.epoll | None = None
        try:
            self._start(probe)
        except OSError:
            self.close()
            raise

    @property
    def wants(self) -> int:
        return select.POLLIN

    def fileno(self) -> int:
        return -1 if self._epoll is None else self._epoll.fileno()

    def reaped(self, status: int) -> None:
        if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
            return  # waitpid(2) with WUNTRACED or WCONTINUED tells of these too: not the end
        self._status = status
        # While a member lives the kernel gives the group's number to nobody else, so this is safe
        # although the leader is gone; but only now, not at any later time.
        self._kill()
        self._strangers.discard(self.pid)

    def overdue(self) -> Sample:
        last = self._last_words()
        return Sample(Outcome.TIMED_OUT, "still running" + (f": {last}" if last else ""))

    def close(self) -> None:
        """Kill the group and reap.

        A child stuck in the kernel (D state) is left to whoever reaps next.
        """
        if self.pid and self._status is None:
            self._kill()
            self._await_end()
        if self._epoll is not None:
            self._epoll.close()
        for fd in (self._output, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._epoll, self._output, self._pidfd = None, -1, -1

    def _start(self, probe: ExecProbe) -> None:
        self._output, writer = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid = _spawn(probe.argv, writer)
        except OSError as error:
            reason = "not found" if isinstance(error, FileNotFoundError) else why(error)
            self._failure = Sample(Outcome.BROKEN, f"cannot run {probe.argv[0]!r}: {reason}")
            return
        finally:
            os.close(writer)
        self._strangers.add(self.pid)
        self._pidfd = os.pidfd_open(self.pid)
        os.set_blocking(self._output, False)
        # One fd to poll for two things: the end of the child, which decides, and its output, which
        # must not fill the pipe. Grandchildren may keep the pipe open for ever: its end means
        # nothing.
        self._epoll = select.epoll()
        self._epoll.register(self._pidfd, select.EPOLLIN)
        self._epoll.register(self._output, select.EPOLLIN)

    def _step(self) -> Sample | None:
        if self._failure is not None:
            return self._failure
        try:
            self._reap()
        except ChildProcessError:
            # Somebody reaped it and did not say so. Waiting on would only spin on the pidfd.
            self._status, self._failure = 0, Sample(Outcome.BROKEN, "its exit status was lost")
            return self._failure
        self._read()
        if self._status is None:
            return None
        return self._verdict(os.waitstatus_to_exitcode(self._status))

    def _verdict(self, code: int) -> Sample:
        if code == 0:
            return Sample(Outcome.PASSED)
        last = self._last_words()
        how = f"exit {code}" if code > 0 else f"killed by signal {-code}"
        return Sample(Outcome.FAILED, f"{how}: {last}" if last else how)

    def _read(self) -> None:
        for _ in range(_MOST_READS if self._output >= 0 else 0):
            try:
                data = os.read(self._output, _READ_SIZE)
            except BlockingIOError:
                return
            if not data:
                assert self._epoll is not None, "the output is open, so is the epoll"
                self._epoll.unregister(self._output)  # its HUP would be reported for ever
                os.close(self._output)
                self._output = -1
                return
            self._printed = (self._printed + data)[-_KEPT:]

    def _reap(self) -> None:
        """Take the child's status if it has ended, and end what it left behind.

        Raises ChildProcessError.
        """
        if self._status is not None:
            return
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
        self._kill()  # before reaping: until then the number is the child's for certain
        self._status = os.waitpid(self.pid, 0)[1]
        self._strangers.discard(self.pid)

    def _await_end(self) -> None:
        poll = select.poll()
        if self._pidfd >= 0:
            poll.register(self._pidfd, select.POLLIN)
        poll.poll(_KILL_GRACE_MS)
        try:
            self._reap()
        except ChildProcessError:
            self._status = 0  # the other reaper was faster

    def _kill(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nobody left; or a set-user-ID program, which its own user may not kill

    def _last_words(self) -> str:
        lines = [
            line for line in self._printed.decode(errors="replace").splitlines() if line.strip()
        ]
        text = lines[-1].strip() if lines else ""
        return "".join(c if c.isprintable() else " " for c in text[-_SHOWN:])


def _spawn(argv: tuple[str, ...], output: int) -> int:
    """posix_spawn(3): vfork's cost whatever our size, and no Python between fork and exec."""
    return os.posix_spawnp(
        argv[0],
        argv,
        _environment(),
        file_actions=(
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ),
        setpgroup=0,
        setsigmask=(),
        setsigdef=signal.valid_signals(),
    )


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name != "NOTIFY_SOCKET" and not name.startswith(_PRIVATE)
    }
