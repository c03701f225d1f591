"""What the options in use add to the wrapper, made before the target is started.

Each is imported only where its option asks for it: a service pays in memory for what it uses.
"""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.probe import FdProbe, LogProbe
from notifywrap.policy.spec import TargetNotify

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifywrap.lean import socket
    from notifywrap.policy.level import Level
    from notifywrap.policy.spec import Spec
    from notifywrap.runtime.loop import Part

__all__ = ["make_parts", "make_preparation"]


def make_parts(
    spec: Spec,
    env: dict[str, str],
    descriptors: dict[int, int],
    say: Callable[[Level, str], None],
    *,
    is_notified: bool,
) -> tuple[list[Part], socket.socket | None]:
    """The parts that *spec* asks for, and the socket of one that need not be there before the
    target: the relay's, where there is to be one.

    env          of the target: changed for what it is to find there
    descriptors  to be filled with what the target gets: its descriptor number -> ours
    is_notified  is there a systemd to tell?

    Raises NotifywrapError when one cannot be had; nothing is left open then.
    """
    parts: list[Part] = []
    mailbox: socket.socket | None = None
    try:
        _add_outputs(parts, spec, env, descriptors, say)
        if is_notified and spec.target_notify is not TargetNotify.IGNORE:
            from notifywrap.runtime.mailbox import invite, open_mailbox

            mailbox = open_mailbox()
            invite(mailbox, env, spec.watchdog_s)
    except BaseException:
        for part in parts:
            part.close()
        raise
    return parts, mailbox


def make_preparation(
    spec: Spec, say: Callable[[Level, str], None]
) -> Callable[[dict[str, str]], None] | None:
    """What the target's process is to do with itself and its environment before it executes the
    target; None for nothing. What that imports, and secrets, never get into the wrapper."""
    if spec.jail is None and not spec.credentials:
        return None

    def prepare(env: dict[str, str]) -> None:
        if spec.credentials:  # before the jail, which may forbid to read them
            from notifywrap.runtime.credentials import add_credentials

            add_credentials(env, spec.credentials)
        if spec.jail is not None:
            from notifywrap.runtime.jail import enter

            enter(spec.jail, spec.command, env, say)

    return prepare


def _add_outputs(
    parts: list[Part],
    spec: Spec,
    env: dict[str, str],
    descriptors: dict[int, int],
    say: Callable[[Level, str], None],
) -> None:
    """What reads from the target: its log, and the descriptors it says ready on."""
    probes = spec.ready + spec.live
    numbers = [probe.fd for probe in probes if isinstance(probe, FdProbe)]
    patterns = [probe.pattern for probe in probes if isinstance(probe, LogProbe)]
    if numbers:
        from notifywrap.runtime.fdpipes import FdPipes

        parts.append(FdPipes(numbers, env, descriptors))
    if patterns:
        from notifywrap.runtime.logpump import LogPump

        parts.append(LogPump(patterns, env, descriptors, say))
