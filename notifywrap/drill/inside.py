"""What runs in the service's place: one process for each attempt, and one line for what came of it.

The process that systemd starts stands for the wrapper; each attempt is made in a child of its own,
as the wrapper's target would be. With --jail it is the child that goes to jail, and then makes the
attempt without executing anything: so that forbidding exec and fork does not keep it from trying.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import resource
import signal
import sys
import time
from typing import Any, NoReturn

from notifywrap.drill.attempt import Attempt, Context, Finding
from notifywrap.drill.dropped import STATUS
from notifywrap.drill.files import sweep
from notifywrap.drill.table import ALL
from notifywrap.errors import NotifywrapError
from notifywrap.policy.jailspec import Jail, parse_jail
from notifywrap.runtime.libc import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, prctl
from notifywrap.unitfile.words import expand_words

__all__ = ["main"]

_LIMIT_S = 10  # for one attempt; the slowest, a connect that is not answered, gives up after 2
_SLOT = 4096
_WORKED, _REFUSED, _BROKEN = "worked", "refused", "broken"


def main(text: str) -> None:
    """Try everything; one JSON object a line on stdout, the last one says "end".

    text  the Context as JSON
    """
    given = json.loads(text)
    is_alone = given.pop("is_alone")
    if is_alone:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no systemd ends us with the one who started us
    for name in ("disks", "sockets"):
        given[name] = tuple(given[name])
    context = _look_around(Context(**given))
    try:
        jail = _read_jail(context)
        if context.is_wrapped:
            prctl(PR_SET_DUMPABLE, 0)  # as notifywrap does
        neighbour = _start_neighbour()
        context = context._replace(neighbour_pid=neighbour)
        _say(uid=os.getuid())
        _check_jail(context, jail)
        for attempt in ALL:
            _say(**_try(attempt, context, jail)._asdict())
        os.kill(neighbour, signal.SIGKILL)
        os.waitpid(neighbour, 0)
        _say(end=True)
    except (NotifywrapError, OSError) as error:
        _say(error=str(error))
        sys.exit(1)
    finally:
        if context.state_file.startswith(context.state + "/"):
            os.unlink(context.state_file)


def _look_around(context: Context) -> Context:
    """What is only known in here."""
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if state:
        context = context._replace(state=state, state_file=f"{state}/{context.tag}-kept")
        os.close(os.open(context.state_file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        with open("/bin/sh", "rb") as file:
            context = context._replace(shell=file.read())
    except OSError:
        pass  # a root directory of its own
    return context._replace(main_pid=os.getpid(), notify_socket=os.environ.get("NOTIFY_SOCKET", ""))


def _say(**said: Any) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


def _read_jail(context: Context) -> Jail | None:
    if context.rules is None:
        return None
    words, unknown = expand_words([context.rules], dict(os.environ))
    if unknown:
        raise NotifywrapError(f"--jail: the unit does not set ${unknown[0]}")
    return parse_jail(words, "--jail")


def _start_neighbour() -> int:
    pid = _fork()
    if pid:
        return pid
    try:
        _become_target(-1)
        time.sleep(3600)
    finally:
        os._exit(1)


def _fork() -> int:
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        hint = "TasksMax= of the unit leaves no room for the attempts' processes"
        raise NotifywrapError(f"cannot start a process: {error.strerror} ({hint})") from None
    if pid == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    return pid


def _become_target(max_processes: int) -> None:
    """Only notifywrap itself is undumpable, and LimitNPROC= is the service's."""
    prctl(PR_SET_DUMPABLE, 1)
    if max_processes >= 0:
        resource.setrlimit(resource.RLIMIT_NPROC, (max_processes, max_processes))


def _check_jail(context: Context, jail: Jail | None) -> None:
    """Say what the jail says at start, once; raises NotifywrapError when it cannot be entered."""
    if jail is None:
        return
    with mmap.mmap(-1, _SLOT) as slot:
        pid = _fork()
        if pid == 0:
            _answer(slot, lambda: _enter_aloud(context, jail))
        os.waitpid(pid, 0)
        kind, _, text = _read(slot).partition(" ")
    if kind != _WORKED:
        raise NotifywrapError(text or "--jail: its process died on the way in")


def _enter_aloud(context: Context, jail: Jail) -> None:
    from notifywrap.runtime.jail import enter

    enter(jail, [context.binary], dict(os.environ), lambda level, text: _say(
        remark=text, level=level.value))  # fmt: skip


def _try(attempt: Attempt, context: Context, jail: Jail | None) -> Finding:
    with mmap.mmap(-1, _SLOT) as slot:  # not a pipe: there are filters that forbid those
        pid = _fork()
        if pid == 0:
            _make(attempt, context, jail, slot)
        _, status = os.waitpid(pid, 0)
        sweep(context, pid)
        kind, _, text = _read(slot).partition(" ")
    if kind == _BROKEN:
        raise NotifywrapError(f"{attempt.name}: {text}")
    if kind:
        return Finding(attempt.name, kind == _WORKED, text)
    if os.WIFSIGNALED(status):
        signum = os.WTERMSIG(status)
        name = f"killed by {signal.Signals(signum).name}"
        return Finding(attempt.name, False, "timed out" if signum == signal.SIGALRM else name)
    code = os.WEXITSTATUS(status)
    return Finding(attempt.name, code == STATUS, "" if code == STATUS else f"exit status {code}")


def _make(attempt: Attempt, context: Context, jail: Jail | None, slot: mmap.mmap) -> NoReturn:
    def act() -> str | None:
        _become_target(context.max_processes)
        signal.alarm(_LIMIT_S)
        _hush()
        if jail is not None:
            from notifywrap.runtime.jail import enter

            enter(jail, [context.binary], dict(os.environ), lambda _level, _text: None)
        try:
            attempt.function(context)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, str(error))
            return f"{_WORKED if error.errno in attempt.passed else _REFUSED} {name}"
        return None

    _answer(slot, act)


def _answer(slot: mmap.mmap, function: Any) -> NoReturn:
    """Runs in a child: what came of *function* goes to whoever started it."""
    try:
        answer = function() or _WORKED
    except BaseException as error:  # noqa: BLE001 - else it would look like an attempt that ran
        answer = f"{_BROKEN} {error if isinstance(error, NotifywrapError) else repr(error)}"
    data = answer.encode(errors="replace")[: _SLOT - 1]
    slot[: len(data)] = data
    os._exit(0)


def _read(slot: mmap.mmap) -> str:
    return slot[:].partition(b"\0")[0].decode(errors="replace")


def _hush() -> None:
    """What is executed must not write between our lines."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in range(3):
        os.dup2(null, fd)
