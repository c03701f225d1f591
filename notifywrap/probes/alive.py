"""Is the target running: neither stopped, nor a zombie, nor gone."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Outcome, Sample
from notifywrap.probes import Attempt

if TYPE_CHECKING:
    from notifywrap.policy.probe import AliveProbe
    from notifywrap.probes.target import Target

__all__ = ["AliveAttempt", "find_tracer"]

_PASSED = Sample(Outcome.PASSED)
_STOPPED = Sample(Outcome.FAILED, "stopped")
_GONE = Sample(Outcome.FAILED, "not running")
# Not a no: whoever looks at a target with a debugger has stopped it, and may let it go on.
_HELD = Sample(Outcome.TIMED_OUT, "stopped by a debugger")

# States in proc_pid_stat(5) that are not running; all others (R S D I P) are.
_VERDICTS = {b"T": _STOPPED, b"t": _HELD, b"Z": _GONE, b"X": _GONE}


class AliveAttempt(Attempt):
    """Looks once: 15 us."""

    def __init__(self, probe: AliveProbe, target: Target) -> None:  # noqa: ARG002
        self._pid = target.pid

    def _step(self) -> Sample:
        try:
            state = _state(f"/proc/{self._pid}")
        except OSError:
            return _without_proc(self._pid)
        if state == b"T" and find_tracer(self._pid):
            return _HELD
        return _VERDICTS.get(state, _PASSED)


def find_tracer(pid: int) -> str:
    """Who traces process *pid* with ptrace(2), as "gdb (pid 12)"; "" for nobody, or no /proc.

    Source: proc_pid_status(5), State and TracerPid.
    """
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            text = file.read(1024)  # both are among the first eight lines
    except OSError:
        return ""
    tracer = int(text.partition(b"\nTracerPid:")[2].split(None, 1)[0])
    if tracer == 0:  # as well for a tracer in a pid namespace that we cannot see into
        is_held = text.partition(b"\nState:")[2].lstrip()[:1] == b"t"
        return "a process outside of this container" if is_held else ""
    try:
        with open(f"/proc/{tracer}/comm", "rb", buffering=0) as file:
            name = file.read(64).decode(errors="replace").strip()
    except OSError:
        return f"pid {tracer}"  # another user's, and ProtectProc=
    return f"{name} (pid {tracer})"


def _state(process: str) -> bytes:
    state, threads = _stat(process)
    if state == b"Z" and threads > 1:
        # The main thread has ended alone and the others work on: what happens to them counts.
        for task in os.listdir(f"{process}/task"):
            other, _ = _stat(f"{process}/task/{task}")
            if other not in b"ZX":
                return other
    return state


def _stat(directory: str) -> tuple[bytes, int]:
    """State and number of threads.

    The name before them may hold spaces and parentheses: look behind the last one.
    """
    fd = os.open(f"{directory}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fields = os.read(fd, 1024).rpartition(b")")[2].split()
    finally:
        os.close(fd)
    return fields[0], int(fields[17])


def _without_proc(pid: int) -> Sample:
    """/proc is hidden, absent, or says that there is no such process.

    Ask as its parent, who may know without it.
    """
    try:
        # WNOWAIT leaves everything as it is for the one who reaps.
        event = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return _as_a_stranger(pid)
    if event is None:
        return _PASSED
    return _STOPPED if event.si_code in (os.CLD_STOPPED, os.CLD_TRAPPED) else _GONE


def _as_a_stranger(pid: int) -> Sample:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return _GONE
    except PermissionError:
        pass  # it is there, under another user
    return Sample(
        Outcome.PASSED, note="/proc is hidden: that the target is stopped could not be told"
    )
