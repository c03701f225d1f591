"""The target: started into the world that systemd made, and its end mirrored."""

from __future__ import annotations

import errno

from notifywrap.errors import CommandError, NotifywrapError, find_place
from notifywrap.lean import TYPE_CHECKING, os, signal
from notifywrap.policy.exits import CANNOT_EXECUTE, FAILED, NOT_FOUND
from notifywrap.runtime.lastwords import leave_word
from notifywrap.runtime.libc import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, prctl
from notifywrap.runtime.signals import ALL, CAUGHT, restore_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from notifywrap.policy.exits import ExitStatus

__all__ = [
    "cannot_fork",
    "end_as",
    "find_dispositions",
    "inherited_sockets",
    "occupy_standard_streams",
    "open_pipe",
    "pass_terminal",
    "replace_us",
    "spawn",
    "target_environment",
]

LISTEN_FDS_START = 3  # sd_listen_fds(3)
# What is between systemd and the wrapper, not for the target: the relay gives it its own.
_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PIDFDID")


def target_environment(environ: Mapping[str, str], pid: int) -> dict[str, str]:
    """The environment that the target gets, but for the variables that name its own pid.

    pid  of the wrapper
    """
    env = {k: v for k, v in environ.items() if k not in _OURS and not k.startswith("NOTIFYWRAP_")}
    if env.get("LC_CTYPE") == "C.UTF-8" and not _was_given("LC_CTYPE"):
        del env["LC_CTYPE"]  # Python set it for itself and its children (PEP 538); systemd did not
    if env.get("LISTEN_PID") == str(pid):
        env["LISTEN_PID"] = ""  # to be the target's own, see _become_target()
    return env


def _was_given(name: str) -> bool:
    """Was this variable there when the wrapper was executed? Source: proc(5), /proc/pid/environ."""
    try:
        with open("/proc/self/environ", "rb", buffering=0) as file:
            block = file.read()
    except OSError:
        return True
    return any(entry.startswith(name.encode() + b"=") for entry in block.split(b"\0"))


def inherited_sockets(environ: Mapping[str, str], pid: int) -> dict[int, int]:
    """The file descriptors of a socket-activated service and their inodes.

    Source: sd_listen_fds(3). Ends at the first descriptor that is not there: then the count lies.
    """
    found: dict[int, int] = {}
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") == str(pid) and count.isascii() and count.isdigit():
        for fd in range(LISTEN_FDS_START, LISTEN_FDS_START + int(count[:9])):
            try:
                if not os.get_inheritable(fd):
                    break  # what we were given is not close-on-exec: this one is our own
                found[fd] = os.fstat(fd).st_ino
            except OSError:
                break
    return found


def occupy_standard_streams() -> None:
    """Put /dev/null where stdin, stdout or stderr was closed; the target finds them closed still.

    Else a pipe or a socket of ours would get number 2, and our journal lines with it.
    """
    try:
        while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
            pass
    except OSError:
        return  # no /dev/null
    os.close(fd)


def spawn(
    argv: Sequence[str],
    env: dict[str, str],
    mask: Iterable[int],
    *,
    sigpipe_ignored: bool = True,
    terminal: int | None = None,
    descriptors: Mapping[int, int] = {},
    prepare: Callable[[dict[str, str]], None] | None = None,
) -> int:
    """Start the target and return its pid once it is really executing *argv*.

    mask         the signal mask it gets; all signals are blocked around this call, so that none is
                 lost in the gap
    terminal     fd of the controlling terminal that the target is to have, None for a session of
                 its own
    descriptors  what the target is to have beside what it inherits: its descriptor number -> ours
    prepare      called in the target's process, with its environment, before anything else

    Raises CommandError when *argv* is not executed; then nothing is left running.
    """
    parent = os.getpid()
    dispositions = find_dispositions(sigpipe_ignored)
    report, failure = open_pipe()
    try:
        pid = os.fork()
    except OSError as error:  # EAGAIN: LimitNPROC= or TasksMax= is used up
        os.close(report)
        os.close(failure)
        raise cannot_fork(error) from None
    if pid == 0:
        try:
            if prepare is not None:
                prepare(env)
            failure = _place(descriptors, failure)
            _become_target(argv, env, mask, dispositions, terminal, parent)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not the target's end
            os.write(failure, _report(_explain(error, argv, env)))
        finally:
            os._exit(NOT_FOUND)
    os.close(failure)
    leave_word(pid, signal.SIGCONT)  # or it would act on its PDEATHSIG only when not stopped
    with os.fdopen(report, "rb") as file:  # end of file is exec's own close of it
        words = file.read()
    if words:
        os.waitpid(pid, 0)
        if terminal is not None:
            pass_terminal(terminal, pid, os.getpgrp())
        raise _read_report(words)
    return pid


def replace_us(
    argv: Sequence[str],
    env: dict[str, str],
    mask: Iterable[int],
    dispositions: Mapping[signal.Signals, signal._HANDLER],
    descriptors: Mapping[int, int],
    failure: int,
    prepare: Callable[[dict[str, str]], None] | None = None,
) -> CommandError:
    """Become the target in this very process; returns only when that cannot be, and says why.

    failure  something is written to it then; it is closed on exec

    The arguments are those of `spawn()`, and all signals are blocked here, too.
    """
    stderr = _dodge(os.dup(2), descriptors)  # for the one who says why
    try:
        if prepare is not None:
            prepare(env)
        failure = _place(descriptors, failure)
        _execute(argv, env, mask, dispositions)
    except Exception as error:  # noqa: BLE001 - whatever it is, the sidecar must not go on
        why = _explain(error, argv, env)
    os.write(failure, b"x")
    os.dup2(stderr, 2)
    return why


def open_pipe() -> tuple[int, int]:
    """(read, write), closed at exec. Raises NotifywrapError where the unit's filter forbids it."""
    try:
        return os.pipe2(os.O_CLOEXEC)
    except PermissionError:
        raise NotifywrapError(
            "cannot make a pipe: SystemCallFilter= forbids pipe2 (~@ipc has it: name the System V"
            " calls instead)"
        ) from None


def cannot_fork(error: OSError) -> NotifywrapError:
    """EAGAIN: LimitNPROC= or TasksMax= is used up."""
    hint = "LimitNPROC= counts the threads of the user, TasksMax= those of the unit"
    return NotifywrapError(f"cannot start a process: {error.strerror} ({hint})")


def _explain(error: Exception, argv: Sequence[str], env: Mapping[str, str]) -> CommandError:
    """What is told of an error between fork and exec."""
    if isinstance(error, NotifywrapError):
        return CommandError(str(error), error.exit_status)
    if isinstance(error, OSError):
        return _cannot_execute(argv[0], error.errno or errno.EINVAL, env)
    if isinstance(error, ValueError):
        # Python's own refusal of what exec(3) would not take either
        return _cannot_execute(argv[0], errno.EINVAL if argv[0] else errno.ENOENT, env)
    text = f"internal error, please report it: {error!r} at {find_place(error)}"
    return CommandError(text, FAILED)


def _report(error: CommandError) -> bytes:
    return f"{error.exit_status} {error}".encode(errors="surrogateescape")


def _read_report(words: bytes) -> CommandError:
    status, _, text = words.decode(errors="surrogateescape").partition(" ")
    return CommandError(text, int(status))


def find_dispositions(sigpipe_ignored: bool) -> dict[signal.Signals, signal._HANDLER]:
    """What the target is to find where it is not what we have. SIGCHLD is ours from now on."""
    found = {
        # Were it ignored, the kernel would reap the target and tell nobody how it ended.
        signal.SIGCHLD: signal.signal(signal.SIGCHLD, signal.SIG_DFL),
        # CPython ignores both; systemd leaves SIGXFSZ alone and ignores SIGPIPE (systemd.exec(5),
        # IgnoreSIGPIPE=).
        signal.SIGXFSZ: signal.SIG_DFL,
        signal.SIGPIPE: signal.SIG_IGN if sigpipe_ignored else signal.SIG_DFL,
    }
    if callable(signal.getsignal(signal.SIGINT)):
        # Python's own handler would swallow one that is pending.
        found[signal.SIGINT] = signal.SIG_DFL
    return found


def _place(descriptors: Mapping[int, int], failure: int) -> int:
    """Runs in the child: give it *descriptors*; returns where *failure* is now.

    What is about to be overwritten moves out of the way first: a number of ours may be one that
    the target is to have.
    """
    sources = {number: _dodge(ours, descriptors) for number, ours in descriptors.items()}
    failure = _dodge(failure, descriptors)
    for number, ours in sources.items():
        os.dup2(ours, number, inheritable=True)
    return failure


def _dodge(fd: int, taken: Mapping[int, int]) -> int:
    """*fd*, or a copy that is none of *taken*. The copies are close-on-exec: exec ends them."""
    while fd in taken:
        fd = os.dup(fd)
    return fd


def _become_target(
    argv: Sequence[str],
    env: dict[str, str],
    mask: Iterable[int],
    dispositions: Mapping[signal.Signals, signal._HANDLER],
    terminal: int | None,
    parent: int,
) -> None:
    """Runs in the child; does not return."""
    if terminal is None:
        os.setsid()
    else:
        group = os.getpgrp()
        os.setpgid(0, 0)
        pass_terminal(terminal, group, os.getpid())
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the line above
        os._exit(NOT_FOUND)
    _execute(argv, env, mask, dispositions)


def _execute(
    argv: Sequence[str],
    env: dict[str, str],
    mask: Iterable[int],
    dispositions: Mapping[signal.Signals, signal._HANDLER],
) -> None:
    """Does not return. Raises OSError, and ValueError for what Python refuses by itself."""
    pid = str(os.getpid())
    for name in ("LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"):
        if name in env and (name == "SYSTEMD_EXEC_PID" or not env[name]):
            env[name] = pid
    for signum, disposition in dispositions.items():
        signal.signal(signum, disposition)
    restore_mask(mask)
    os.execvpe(argv[0], list(argv), env)


def _cannot_execute(command: str, number: int, env: Mapping[str, str]) -> CommandError:
    if number in (errno.ENOENT, errno.ENOTDIR) and command and "/" not in command:
        return CommandError(
            f"cannot start {command!r}: not found in PATH={env.get('PATH', '')}", NOT_FOUND
        )
    if number in (errno.ENOENT, errno.ENOTDIR) and not os.path.exists(command):
        return CommandError(f"cannot start {command!r}: no such file", NOT_FOUND)
    kind = ""
    if "/" in command and os.path.exists(command) and not os.path.isfile(command):
        kind = "it is a directory" if os.path.isdir(command) else "it is not a regular file"
    reason = {
        errno.ENOENT: "its interpreter or loader does not exist (see its first line, or ldd)",
        errno.EACCES: kind
        or "permission denied (is it an executable file? NoExecPaths=? noexec mount?)",
        errno.ENOEXEC: "not a program (a script needs a first line such as #!/bin/sh)",
    }.get(number, os.strerror(number))
    return CommandError(f"cannot start {command!r}: {reason}", CANNOT_EXECUTE)


def pass_terminal(terminal: int, giver: int, taker: int) -> None:
    """Make *taker* the terminal's foreground process group, if *giver* is that now.

    Whoever is in the background must not take it: it is the shell's then, or another job's.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTTOU,))  # it would stop us
    try:
        if os.tcgetpgrp(terminal) == giver:
            os.tcsetpgrp(terminal, taker)
    except OSError:
        pass  # ENOTTY, EIO: the terminal went away, and with it the question who is in front
    restore_mask(mask)


def end_as(status: ExitStatus) -> None:
    """End this process as the target ended: same exit status, or killed by the same signal,
    without a core dump."""
    if status.signum and os.getpid() != 1:  # the kernel spares pid 1 its own signals
        prctl(PR_SET_DUMPABLE, 0)  # a core of the wrapper is nothing that anybody wants to debug
        signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
        if status.signum in CAUGHT:  # all others still do what they do by default
            signal.signal(status.signum, signal.SIG_DFL)
        os.kill(os.getpid(), status.signum)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (status.signum,))
    os._exit(status.shell_code)
