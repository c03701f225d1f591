"""`notifywrap [OPTIONS] -- COMMAND`: what ExecStart= runs."""

from __future__ import annotations

from notifywrap.cli.journal import Journal
from notifywrap.errors import NotifyError, NotifywrapError, SpecError, find_place
from notifywrap.lean import TYPE_CHECKING, os, signal
from notifywrap.policy.exits import FAILED
from notifywrap.policy.level import Level
from notifywrap.protocol.notify import Notifier
from notifywrap.protocol.wire import build
from notifywrap.runtime.libc import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, prctl
from notifywrap.runtime.process import (
    end_as,
    inherited_sockets,
    occupy_standard_streams,
    spawn,
    target_environment,
)
from notifywrap.runtime.signals import block_all, restore_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from notifywrap.cli.options import Arguments
    from notifywrap.lean import socket
    from notifywrap.policy.exits import ExitStatus
    from notifywrap.policy.spec import Spec
    from notifywrap.runtime.loop import Part
    from notifywrap.runtime.pidfile import PidFile
    from notifywrap.runtime.supervisor import Supervisor

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Run the target until it ends, and end as it ended. Returns only a status of our own."""
    mask = block_all()
    occupy_standard_streams()
    say: Callable[[Level, str], None] = Journal().say
    notifier: Notifier | None = None
    try:
        from notifywrap.cli.options import OPTIONS, parse_arguments
        from notifywrap.cli.settings import settle

        arguments, remarks = settle(parse_arguments(argv, OPTIONS), os.environ)
        say = _open_journal(arguments)
        for level, text in remarks:
            say(level, text)
        spec, notifier = _understand(arguments, say)
        del OPTIONS, arguments, parse_arguments, settle
        if spec.main_is_target:
            from notifywrap.runtime.beside import become_target

            raise become_target(spec, notifier, mask, say)
        status = _supervise(spec, notifier, mask, say)
    except NotifywrapError as error:
        say(Level.ERROR, str(error))
        _tell(str(error), notifier)
        return error.exit_status
    except Exception as error:  # noqa: BLE001 - a bug of ours, before or while the target starts
        say(Level.ERROR, f"internal error, please report it: {error!r} at {find_place(error)}")
        return FAILED
    end_as(status)
    raise AssertionError("a process that has ended does not come back")


def _understand(
    arguments: Arguments, say: Callable[[Level, str], None]
) -> tuple[Spec, Notifier | None]:
    """What is asked for, and a way to tell systemd; None where there is none."""
    from notifywrap.cli.config import make_spec
    from notifywrap.policy.defaults import find_doubts
    from notifywrap.protocol.grant import parse_grant

    address = os.environ.get("NOTIFY_SOCKET")
    watchdog_s = parse_grant(os.environ, os.getpid()) if address else None
    spec = make_spec(arguments, watchdog_s)
    notifier = None
    if address:
        notifier = Notifier(address)
        notifier.check()
    for doubt in find_doubts(spec.ready, spec.live, watchdog_s):
        say(Level.NOTICE, doubt)
    return spec, notifier


def _open_journal(arguments: Arguments) -> Callable[[Level, str], None]:
    most = _level(arguments.last("--log-level", "info"), arguments.label("--log-level"))
    where = arguments.last("--log", "stderr")
    if where == "journal":
        from notifywrap.cli.journald import choose_journal  # needs systemd-python

        return choose_journal(most, (arguments.command or ("",))[0])
    if where != "stderr":
        label = arguments.label("--log")
        raise SpecError(f"{label}: {where!r} is not available (choose journal or stderr)")
    return Journal(most).say


def _level(name: str, label: str) -> Level:
    for level in Level:
        if level.name == name.upper():
            return level
    raise SpecError(f"{label}: {name!r} is not a level (error, warning, notice, info or debug)")


def _tell(text: str, notifier: Notifier | None) -> None:
    """What went wrong, for `systemctl status`."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        try:
            notifier = notifier or Notifier(address)
            notifier.renew()  # where it was closed
            notifier.send(build((("STATUS", text),)))
        except NotifyError:
            pass  # the journal has it


def _supervise(
    spec: Spec,
    notifier: Notifier | None,
    mask: Iterable[int],
    say: Callable[[Level, str], None],
) -> ExitStatus:
    from notifywrap.runtime.parts import make_parts, make_preparation

    pid = os.getpid()
    env = target_environment(os.environ, pid)  # before our /proc files are root's
    prctl(PR_SET_DUMPABLE, 0)  # the target may be the same user: our memory is not for it
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # what the target daemonizes stays in its tree, and is reaped
    sockets = inherited_sockets(os.environ, pid)
    terminal = 0 if _has_terminal() else None
    descriptors: dict[int, int] = {}
    parts, mailbox = make_parts(spec, env, descriptors, say, is_notified=notifier is not None)
    pidfile = _open_pidfile(spec.pidfile) if spec.pidfile else None
    target = spawn(
        spec.command,
        env,
        mask,
        sigpipe_ignored=spec.sigpipe_ignored,
        terminal=terminal,
        descriptors=descriptors,
        prepare=make_preparation(spec, say),
    )
    del make_parts, make_preparation
    try:
        known = frozenset(sockets.values())
        supervisor = _make_supervisor(
            spec, target, known, notifier, say, parts, mailbox, terminal, pidfile
        )
    except BaseException:
        os.kill(target, signal.SIGKILL)  # nobody would look after it
        os.waitpid(target, 0)
        raise
    for fd in sockets:
        os.close(fd)
    restore_mask(())
    return supervisor.run()


def _make_supervisor(
    spec: Spec,
    pid: int,
    inherited: frozenset[int],
    notifier: Notifier | None,
    say: Callable[[Level, str], None],
    parts: list[Part],
    mailbox: socket.socket | None,
    terminal: int | None,
    pidfile: PidFile | None,
) -> Supervisor:
    """What is imported here, while the target starts up, does not delay it."""
    from notifywrap.runtime.shed import shed

    shed()
    from notifywrap.probes.target import Target
    from notifywrap.runtime.control import Control
    from notifywrap.runtime.signals import SignalPipe
    from notifywrap.runtime.supervisor import Supervisor

    if mailbox is not None:
        from notifywrap.runtime.relay import Relay

        parts.append(Relay(mailbox, say))
    parts.append(Control(spec, say))
    arguments = (spec, Target(pid, inherited), SignalPipe(), notifier, say, parts, terminal)
    if pidfile is None:
        return Supervisor(*arguments)
    from notifywrap.runtime.follower import Follower

    follower = Follower(*arguments)
    follower.follow_by(pidfile)
    return follower


def _open_pidfile(path: str) -> PidFile:
    from notifywrap.runtime.pidfile import PidFile

    return PidFile(path)


def _has_terminal() -> bool:
    """Are we in front on a terminal, that is, run by hand?"""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False  # ENOTTY
