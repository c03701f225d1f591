"""What systemd does with a Type=notify service. Decisions only: (state, event, now) -> actions.

Written after service.c of systemd 255 to 257; where older ones differ, a comment says so. Left out
is what a wrapped daemon does not meet: control processes (ExecStartPre=), MAINPID=, the fd store.
"""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, signal
from notifywrap.testing.states import Kill, KillMode, Note, NotifyAccess, Result, Sub

if TYPE_CHECKING:
    from notifywrap.policy.exits import ExitStatus
    from notifywrap.protocol.wire import Message
    from notifywrap.testing.states import Action, Settings

__all__ = ["Unit"]

_CLEAN_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
_INFINITY_S = (2**64 - 1) / 1_000_000  # USEC_INFINITY
_RELOADING = (Sub.RELOAD_SIGNAL, Sub.RELOAD_NOTIFY)
_RUNS = (Sub.RUNNING, *_RELOADING)
_STOPS = (Sub.STOP_WATCHDOG, Sub.STOP_SIGTERM, Sub.STOP_SIGKILL)
_FINAL = (Sub.FINAL_SIGTERM, Sub.FINAL_SIGKILL)
_ENDED = (Sub.DEAD, Sub.FAILED)
_SIGNAL_OF = {
    Sub.STOP_WATCHDOG: signal.SIGABRT,
    Sub.STOP_SIGTERM: signal.SIGTERM,
    Sub.STOP_SIGKILL: signal.SIGKILL,
    Sub.FINAL_SIGTERM: signal.SIGTERM,
    Sub.FINAL_SIGKILL: signal.SIGKILL,
}


class Unit:
    """One activation of a service, from the moment its main process was started.

    Public state: `sub`, `result` (systemd's word so far), `status` (its STATUS text), `ready_at`,
    `armed_at` (when the watchdog was last armed or fed) and `watchdog_deadline`, all moments on the
    clock of *now*.
    """

    def __init__(self, settings: Settings, main_pid: int, now: float) -> None:
        self.settings = settings
        self.main_pid = main_pid
        self.started_at = now
        self.sub = Sub.START
        self.result = "success"
        self.status = ""
        self.ready_at: float | None = None
        self.armed_at: float | None = None
        self.watchdog_deadline: float | None = None
        self.largest_gap_s = 0.0  # the longest that the watchdog was on and not fed
        self.watchdog_s = settings.watchdog_s
        self.exit: ExitStatus | None = None
        self._dumped = False
        self._others_left = False
        self._timer: float | None = now + settings.start_timeout_s
        self._queued = ""  # RELOADING or STOPPING said before there was a state to change
        self._reload_begun = 0.0

    # --- questions -----------------------------------------------------------------------------

    @property
    def active_state(self) -> str:
        """As `systemctl show -p ActiveState`."""
        if self.sub is Sub.START:
            return "activating"
        if self.sub in _RUNS:
            return "reloading" if self.sub in _RELOADING else "active"
        if self.sub in _ENDED:
            return "inactive" if self.sub is Sub.DEAD else "failed"
        return "deactivating"

    @property
    def ended(self) -> bool:
        """Whether it is all over and no process is left."""
        return self.sub in _ENDED

    @property
    def outcome(self) -> Result:
        """How it ended; what is known so far while it runs."""
        code, signum = self.exit or (0, 0)
        return Result(self.result, code, signum, self._dumped)

    def next_deadline(self) -> float | None:
        """When on_timer() is due; None for never."""
        dues = [due for due in (self._timer, self.watchdog_deadline) if due is not None]
        return min(dues, default=None)

    def refuse(self, message: Message, pid: int) -> str:
        """Why *message* of process *pid* does not count, or ""."""
        if message.has("BARRIER") and len(message.assignments) > 1:
            return "BARRIER=1 is not alone in it (sd_notify(3))"
        # For Type=notify `none` means `main` (systemd.service(5), NotifyAccess=).
        if self.settings.notify_access is not NotifyAccess.ALL and pid != self.main_pid:
            return f"only the main process {self.main_pid} may speak (NotifyAccess=main)"
        return ""

    # --- events --------------------------------------------------------------------------------

    def on_message(self, message: Message, pid: int, now: float) -> list[Action]:
        """Process *pid* of the service sent *message*."""
        if why := self.refuse(message, pid):
            return [Note("ignored", f"notification from process {pid} ignored: {why}")]
        if self.ended:
            return []
        actions = self._on_state(message, now)
        status = message.get("STATUS")
        if status is not None:
            self.status = status
        extension_s = _seconds(message.get("EXTEND_TIMEOUT_USEC"))
        if extension_s:
            self._extend(now + extension_s)
        watchdog = message.get("WATCHDOG")
        if watchdog == "1":
            self._arm(now)
        elif watchdog == "trigger":
            actions += self._fire("WATCHDOG=trigger", now)
        override_s = _seconds(message.get("WATCHDOG_USEC"))
        if override_s is not None:
            self.watchdog_s = override_s
            self._arm(now)
        if message.get("MAINPID"):
            actions.append(Note("ignored", "MAINPID= ignored: this stand-in does not follow it"))
        return actions

    def on_exit(
        self, status: ExitStatus, dumped: bool, others_left: bool, now: float
    ) -> list[Action]:
        """The main process ended; *others_left*: other processes of the service are still there."""
        self.exit, self._dumped, self._others_left = status, dumped, others_left
        why = _judge(status, dumped)
        self._fail(why)
        self._note_gap(now)
        self.watchdog_deadline = None
        if self.sub is Sub.START:
            # A service that ends well before READY=1 has broken its promise all the same.
            return self._enter(Sub.STOP_SIGTERM, "protocol" if why == "success" else why, now)
        if self.sub in _RUNS:
            return self._enter(Sub.STOP_SIGTERM, why, now)
        if self.sub in _STOPS:
            return self._enter(Sub.FINAL_SIGTERM, why, now)
        return self._end() if self.sub in _FINAL and not others_left else []

    def on_empty(self, now: float) -> list[Action]:
        """The last process of the service is gone, and so was the main one before."""
        self._others_left = False
        if self.sub in _STOPS:
            return self._enter(Sub.FINAL_SIGTERM, "success", now)
        return self._end() if self.sub in _FINAL else []

    def on_timer(self, now: float) -> list[Action]:
        """The moment that next_deadline() named has come."""
        if self._timer is not None and now >= self._timer:
            return self._on_timeout(now)
        if self.watchdog_deadline is not None and now >= self.watchdog_deadline:
            waited_s = now - (self.armed_at or self.started_at)
            return self._fire(f"no WATCHDOG=1 for {waited_s:.3g} s", now)
        return []

    def stop(self, now: float) -> list[Action]:
        """`systemctl stop`."""
        if self.sub is Sub.START or self.sub in _RUNS:
            return self._enter(Sub.STOP_SIGTERM, "success", now)
        return []

    def reload(self, now: float) -> list[Action]:
        """`systemctl reload` under Type=notify-reload."""
        if self.sub is not Sub.RUNNING or not self.settings.notify_reload:
            return [Note("ignored", "cannot reload: not running, or not Type=notify-reload")]
        self.sub, self._reload_begun = Sub.RELOAD_SIGNAL, now
        self._timer = now + self.settings.start_timeout_s
        return [Kill(signal.SIGHUP, everyone=False)]

    # --- transitions ---------------------------------------------------------------------------

    def _on_state(self, message: Message, now: float) -> list[Action]:
        """STOPPING wins over READY, and READY over RELOADING; before 254 the last one won."""
        if message.has("STOPPING"):
            self._queued = "STOPPING"
            return self._stop_by_notify(now) if self.sub in _RUNS else []
        moment_s = _seconds(message.get("MONOTONIC_USEC"))
        fresh = moment_s is not None and moment_s >= self._reload_begun - 1e-6  # ours has fractions
        if message.has("READY"):
            self._queued = ""
            if self.sub is Sub.START:
                return self._become_ready(now)
            answered = self.sub is Sub.RELOAD_SIGNAL and message.has("RELOADING") and fresh
            if self.sub is Sub.RELOAD_NOTIFY or answered:
                return self._run(now)
        elif message.has("RELOADING"):
            self._queued = "RELOADING"
            if self.sub is Sub.RELOAD_SIGNAL and fresh:
                self.sub = Sub.RELOAD_NOTIFY
            elif self.sub is Sub.RUNNING:
                return self._reload_by_notify(now)
        return []

    def _become_ready(self, now: float) -> list[Action]:
        self.ready_at = now
        self._arm(now)
        note = Note("active", f"active after {now - self.started_at:.3f} s")
        return [note, *self._run(now)]

    def _run(self, now: float) -> list[Action]:
        if self._queued == "STOPPING":
            return self._stop_by_notify(now)
        if self._queued == "RELOADING":
            return self._reload_by_notify(now)
        self.sub, self._timer = Sub.RUNNING, None
        return []

    def _stop_by_notify(self, now: float) -> list[Action]:
        self._enter_stop_state(Sub.STOP_SIGTERM, now, self.settings.stop_timeout_s)
        return [Note("stopping", "deactivating: the service said STOPPING=1")]

    def _reload_by_notify(self, now: float) -> list[Action]:
        self._queued = ""
        self.sub, self._timer = Sub.RELOAD_NOTIFY, now + self.settings.start_timeout_s
        return []

    def _on_timeout(self, now: float) -> list[Action]:
        if self.sub in _RELOADING:
            self._queued = ""
            return [Note("timeout", "reload timed out: no READY=1"), *self._run(now)]
        if self.sub is Sub.START:
            waited_s = now - self.started_at
            text = f"start would time out now: no READY=1 within {waited_s:.3g} s"
            return [Note("timeout", text), *self._enter(Sub.STOP_SIGTERM, "timeout", now)]
        if self.sub is Sub.STOP_SIGKILL:
            return self._enter(Sub.FINAL_SIGTERM, "timeout", now)
        if self.sub is Sub.FINAL_SIGKILL:
            self._fail("timeout")
            return self._end()
        kill = Sub.FINAL_SIGKILL if self.sub in _FINAL else Sub.STOP_SIGKILL
        note = Note("timeout", f"{self.sub.value} timed out")
        return [note, *self._enter(kill, "timeout", now)]

    def _fire(self, why: str, now: float) -> list[Action]:
        note = Note("watchdog", f"watchdog would fire now: {why}; systemd sends SIGABRT")
        return [note, *self._enter(Sub.STOP_WATCHDOG, "watchdog", now)]

    def _enter(self, sub: Sub, why: str, now: float) -> list[Action]:
        """Signal what is left and wait; go on at once when nobody was there to be signalled."""
        self._fail(why)
        settings, signum = self.settings, _SIGNAL_OF[sub]
        everyone = settings.kill_mode is KillMode.CONTROL_GROUP or signum == signal.SIGKILL
        if self.exit is None or (everyone and self._others_left):
            wait_s = settings.stop_timeout_s
            if sub is Sub.STOP_WATCHDOG and settings.abort_timeout_s is not None:
                wait_s = settings.abort_timeout_s
            self._enter_stop_state(sub, now, wait_s)
            return [Kill(signum, everyone)]
        if sub in (Sub.STOP_WATCHDOG, Sub.STOP_SIGTERM):
            return self._enter(Sub.STOP_SIGKILL, "success", now)
        if sub is Sub.STOP_SIGKILL:
            return self._enter(Sub.FINAL_SIGTERM, "success", now)
        if sub is Sub.FINAL_SIGTERM:
            return self._enter(Sub.FINAL_SIGKILL, "success", now)
        return self._end()

    def _enter_stop_state(self, sub: Sub, now: float, wait_s: float) -> None:
        # The watchdog is off in every stop state: STOPPING=1 therefore turns it off.
        self._note_gap(now)
        self.watchdog_deadline = None
        self.sub, self._timer = sub, now + wait_s

    def _end(self) -> list[Action]:
        self.sub = Sub.DEAD if self.result == "success" else Sub.FAILED
        self._timer = self.watchdog_deadline = None
        return [Note("ended", f"{self.active_state} (Result={self.result})")]

    def _fail(self, why: str) -> None:
        """The first reason stays."""
        if self.result == "success":
            self.result = why

    def _arm(self, now: float) -> None:
        # No look at the state: a ping before READY=1 arms the watchdog of a service that still
        # starts, and one after STOPPING=1 arms it again (so it is in service_reset_watchdog()).
        self._note_gap(now)
        self.armed_at = now
        limit_s = self.watchdog_s or 0.0
        self.watchdog_deadline = now + limit_s if 0 < limit_s < _INFINITY_S else None

    def _note_gap(self, now: float) -> None:
        if self.watchdog_deadline is not None and self.armed_at is not None:
            self.largest_gap_s = max(self.largest_gap_s, now - self.armed_at)

    def _extend(self, moment: float) -> None:
        if self._timer is not None:
            self._timer = max(self._timer, moment)
        if self.watchdog_deadline is not None:
            self.watchdog_deadline = max(self.watchdog_deadline, moment)


def _judge(status: ExitStatus, dumped: bool) -> str:
    if status.signum:
        if status.signum in _CLEAN_SIGNALS:
            return "success"
        return "core-dump" if dumped else "signal"
    return "exit-code" if status.code else "success"


def _seconds(usec: str | None) -> float | None:
    """A length in the protocol's microseconds; None for none and for what is not one."""
    if usec is None or not (usec.isascii() and usec.isdigit() and len(usec) <= 20):
        return None
    return int(usec) / 1_000_000
