"""What the user asked for, as one value: checked when made, read by everyone, changed by no one."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, Enum, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from notifywrap.policy.credential import Credential
    from notifywrap.policy.jailspec import Jail
    from notifywrap.policy.probe import Probe

__all__ = ["Spec", "TargetNotify"]


class TargetNotify(Enum):
    """What the target's own sd_notify messages mean."""

    AUTO = "auto"  # they are relayed, and count once the target has begun with them
    REQUIRE = "require"  # its READY=1 and its WATCHDOG=1 are needed as well as the probes
    IGNORE = "ignore"  # it gets no NOTIFY_SOCKET


class Spec(NamedTuple):
    """Everything that one run of the wrapper was asked for.

    command      argv of the target
    ready        all of these must pass, once, before READY=1
    live         all of these, and that the target is alive, must pass for each WATCHDOG=1
    watchdog_s   how long systemd waits between pings (WatchdogSec=); None when it expects none
    period_s     from the start of one live round to the start of the next
    timeout_s    how long one attempt of a live round may take
    ready_timeout_s      how long one attempt of a ready probe may take
    kill_after_s from TERM to KILL, where notifywrap itself stops the target
    stop_signal  the signal that means "stop" (systemd's KillSignal=)
    reload_signal        what the target is sent for HUP, the signal that means "reload"
    reload_command       what is run for it instead; () for none
    reload_timeout_s     then READY=1 is sent although the ready probes do not pass
    stable_for_s         the ready probes must keep passing this long
    start_timeout_s      systemd is kept waiting up to this, then the target is stopped; None for
                         systemd's own limit
    fail_after           after this many failed rounds in a row systemd is told to act; 0 for never
    target_notify        what the target's own sd_notify messages mean
    signal_map           signal to what the target gets in its place; 0 for nothing
    main_is_target       the target is the service's main process, and this is its sidecar
    pidfile              the target daemonizes or re-executes itself, and its pid stands there; ""
    sigpipe_ignored      what the target finds for SIGPIPE
    jail                 what the target is to live without; None for nothing
    credentials          what it gets into its environment beside what is there
    signal_names         number to name, for STATUS and the journal
    """

    command: tuple[str, ...]
    ready: tuple[Probe, ...]
    live: tuple[Probe, ...]
    watchdog_s: float | None = None
    period_s: float = 10.0
    timeout_s: float = 5.0
    ready_timeout_s: float = 5.0
    kill_after_s: float = 10.0
    stop_signal: int = 15
    reload_signal: int = 1
    reload_command: tuple[str, ...] = ()
    reload_timeout_s: float = 60.0
    stable_for_s: float = 0.0
    start_timeout_s: float | None = None
    fail_after: int = 0
    target_notify: TargetNotify = TargetNotify.AUTO
    signal_map: Mapping[int, int] = {}
    main_is_target: bool = False
    pidfile: str = ""
    sigpipe_ignored: bool = True
    jail: Jail | None = None
    credentials: tuple[Credential, ...] = ()
    signal_names: Mapping[int, str] = {}

    def name_of(self, signum: int) -> str:
        """ "TERM" for 15."""
        return self.signal_names.get(signum, str(signum))

    def sent_for(self, signum: int) -> int:
        """What the target gets when the wrapper gets *signum*; 0 for nothing."""
        return self.signal_map.get(signum, self.reload_signal if signum == 1 else signum)
