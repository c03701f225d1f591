"""`notifywrap reload PID`: what ExecReload= runs where systemd has no Type=notify-reload yet."""

from __future__ import annotations

import os
import time

from notifywrap.cli.journal import Journal
from notifywrap.cli.options import ONCE, parse_arguments
from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.lean import TYPE_CHECKING, signal, socket
from notifywrap.policy.duration import format_duration, parse_duration
from notifywrap.policy.events import Level
from notifywrap.runtime.control import READY, address_of, peer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

FAILED = 1
USAGE = "write ExecReload=notifywrap reload $MAINPID"
_LONGEST = 4096
# When the unit is stopped the wrapper tells us so, and systemd's own TERM is not far behind.
_TERM_WAIT_S = 0.1


def main(argv: Sequence[str]) -> int:
    """Ask wrapper PID to reload its target and wait until that is ready again.

    Returns 0 then, 1 when it is not (a line on stderr says why), 2 for misuse.
    """
    if any(word in ("--help", "-h") for word in argv):
        from notifywrap.cli import about

        return about.main(("--help", "reload"))
    try:
        pid, timeout_s = _understand(argv)
        is_reload_of_unit = os.environ.get("MAINPID") == str(pid)
        if is_reload_of_unit:
            signal.signal(signal.SIGTERM, _be_stopped)
        why = _ask(pid, timeout_s)
        if why and is_reload_of_unit:
            time.sleep(_TERM_WAIT_S)
    except NotifywrapError as error:
        Journal().say(Level.ERROR, str(error))
        return error.exit_status
    if why:
        Journal().say(Level.ERROR, why)
    return FAILED if why else 0


def _be_stopped(signum: int, frame: object) -> None:  # noqa: ARG001
    """systemd stops the unit, and the reload with it: no failure, or the unit would end as failed.

    Source: service.c, the result of a control process counts while stopping.
    """
    os._exit(0)


def _understand(argv: Sequence[str]) -> tuple[int, float | None]:
    arguments = parse_arguments(argv, {"--timeout": ONCE})
    words = (*arguments.words, *(arguments.command or ()))
    if len(words) != 1 or not words[0]:
        problem = f"one PID, not {len(words)} words" if len(words) > 1 else "no PID given"
        raise SpecError(f"reload: {problem}: {USAGE}")
    pid = words[0]
    if not (pid.isascii() and pid.isdigit() and 0 < int(pid[:20]) < 1 << 31):
        raise SpecError(f"reload: {pid!r} is not a process id: {USAGE}")
    timeout = arguments.last("--timeout", "")
    return int(pid), parse_duration(timeout, "--timeout") if timeout else None


def _ask(pid: int, timeout_s: float | None) -> str:
    """Why the target of wrapper *pid* is not ready again; "" when it is."""
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(timeout_s)
        connection.connect(address_of(pid))
        if peer_of(connection)[0] != pid:
            return f"cannot ask process {pid} for a reload: another process answers for it"
        answer = connection.recv(_LONGEST)
    except ConnectionRefusedError:
        return f"cannot ask process {pid} for a reload: {_explain(pid)}"
    except ConnectionResetError:
        answer = b""
    except TimeoutError:
        assert timeout_s is not None, "who has no limit waits on"
        return f"not ready again after {format_duration(timeout_s)}"
    except OSError as error:  # EAFNOSUPPORT: RestrictAddressFamilies= without AF_UNIX
        return f"cannot ask process {pid} for a reload: {error.strerror}"
    if not answer:
        return f"notifywrap (pid {pid}) ended before the reload was over"
    return "" if answer == READY else f"reload failed: {answer.decode('utf-8', 'replace')}"


def _explain(pid: int) -> str:
    """Why nobody listens for *pid*."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "there is no such process"
    except PermissionError:
        pass  # it is there, under another user
    if _is_elsewhere(pid):
        return "it is in another network namespace; ExecReload= (without '+') runs in the right one"
    return "it is not a notifywrap, or it does not run yet (with --main target it cannot be asked)"


def _is_elsewhere(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return False  # EACCES, ENOENT: that cannot be known
