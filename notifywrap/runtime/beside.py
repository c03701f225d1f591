"""`--main target`: the process that systemd has started becomes the target, beside a sidecar.

Kept apart from the sidecar itself: what that needs is imported while the target starts already.
"""

from __future__ import annotations

from notifywrap.errors import CommandError, NotifywrapError, find_place
from notifywrap.lean import TYPE_CHECKING, os
from notifywrap.policy.events import Level
from notifywrap.policy.exits import FAILED
from notifywrap.runtime.libc import PR_SET_DUMPABLE, prctl
from notifywrap.runtime.parts import make_parts, make_preparation
from notifywrap.runtime.process import (
    cannot_fork,
    find_dispositions,
    inherited_sockets,
    open_pipe,
    replace_us,
    target_environment,
)
from notifywrap.runtime.signals import restore_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from notifywrap.lean import socket
    from notifywrap.policy.spec import Spec
    from notifywrap.protocol.notify import Notifier
    from notifywrap.runtime.loop import Part

__all__ = ["become_target"]


def become_target(
    spec: Spec,
    notifier: Notifier | None,
    mask: Iterable[int],
    say: Callable[[Level, str], None],
) -> CommandError:
    """Leave a sidecar behind and become the target; returns only when that cannot be, and says why.

    mask  the signal mask that the target gets; all signals are blocked around this call

    Raises NotifywrapError when there can be no sidecar; then the target is not started.
    """
    pid = os.getpid()
    env = target_environment(os.environ, pid)
    prctl(PR_SET_DUMPABLE, 0)  # for the sidecar; exec makes the target dumpable again (prctl(2))
    sockets = inherited_sockets(os.environ, pid)
    descriptors: dict[int, int] = {}
    parts, mailbox = make_parts(spec, env, descriptors, say, is_notified=notifier is not None)
    pidfd = _open_pidfd(pid)
    dispositions = find_dispositions(spec.sigpipe_ignored)
    began, failure = open_pipe()
    if _fork_away():
        os.close(failure)
        _watch(spec, pid, pidfd, began, sockets, notifier, say, parts, mailbox)
    if notifier is not None:
        notifier.avoid(descriptors)  # who tells systemd why it failed may not make another (nounix)
    prepare = make_preparation(spec, say)
    return replace_us(spec.command, env, mask, dispositions, descriptors, failure, prepare)


def _open_pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise NotifywrapError(
            f"cannot watch the target: pidfd_open: {(error.strerror or str(error)).lower()}"
            " (--main target needs Linux 5.3, and a SystemCallFilter= that lets it)"
        ) from None


def _fork_away() -> bool:
    """True in a new process that is no child of ours, in a session of its own.

    The target must find no child that it has not made: its wait(2) for any would return it.
    """
    try:
        child = os.fork()
    except OSError as error:
        raise cannot_fork(error) from None
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                return True
        except OSError as error:
            os._exit(error.errno or FAILED)
        os._exit(0)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if number:
        raise cannot_fork(OSError(number, os.strerror(number) if number > 0 else "killed"))
    return False


def _watch(
    spec: Spec,
    pid: int,
    pidfd: int,
    began: int,
    sockets: Mapping[int, int],
    notifier: Notifier | None,
    say: Callable[[Level, str], None],
    parts: list[Part],
    mailbox: socket.socket | None,
) -> None:
    """Runs in the sidecar; does not return."""
    status = FAILED
    try:
        from notifywrap.probes.target import Target
        from notifywrap.runtime.shed import shed

        shed()
        from notifywrap.runtime.sidecar import Sidecar, settle

        if mailbox is not None:
            from notifywrap.runtime.relay import Relay

            parts.append(Relay(mailbox, say))
        settle()
        restore_mask(())
        if not os.read(began, 1):  # else it could not be executed: who tried says why
            os.close(began)
            target = Target(pid, frozenset(sockets.values()))
            status = Sidecar(spec, target, pidfd, notifier, say, parts).run().code
    except Exception as error:  # noqa: BLE001 - a bug of ours; the target runs on without us
        say(Level.ERROR, f"internal error, please report it: {error!r} at {find_place(error)}")
    finally:
        os._exit(status)
