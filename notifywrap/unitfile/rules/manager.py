"""What systemd does with a service: types, notifications, watchdog, restarts, signals, times."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from notifywrap.policy.duration import format_duration
from notifywrap.unitfile.findings import About, Found, Rule, Severity
from notifywrap.unitfile.values import parse_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.unitfile.execline import Command
    from notifywrap.unitfile.findings import Subject
    from notifywrap.unitfile.syntax import Assignment

__all__ = ["RULES"]

NOTIFY_RELOAD_SINCE = 253
# systemd.service(5), the table of Restart=: which of them act on a watchdog's timeout.
_RESTARTS_HANGS = ("on-failure", "on-abnormal", "on-watchdog", "always")
SOON_S = 5.0
_CHANGERS = ("su", "sudo", "runuser", "doas", "start-stop-daemon")


def type_of_service(subject: Subject) -> Iterator[Found]:
    """Without Type=notify systemd hears nothing of what notifywrap says."""
    if subject.is_notify:
        too_new = subject.type == "notify-reload" and (subject.version or 999) < NOTIFY_RELOAD_SINCE
        if too_new:
            text = f"Type=notify-reload: systemd {subject.version} does not know it and ignores it"
            fix = "write Type=notify and ExecReload=notifywrap reload $MAINPID"
            yield Found("Type", text, fix, Severity.ERROR)
        return
    what = {
        "simple": "`systemctl start` returns at once, and READY=1 is lost",
        "exec": "`systemctl start` returns at once, and READY=1 is lost",
        "idle": "`systemctl start` returns at once, and READY=1 is lost",
        "forking": "systemd waits for the end of notifywrap, which stays: the start times out",
        "oneshot": "systemd waits for the end of notifywrap, which stays",
        "dbus": "systemd waits for a bus name, not for READY=1",
    }[subject.type]
    yield Found("Type", f"Type={subject.type}: {what}", "write Type=notify", Severity.ERROR)


def notify_access(subject: Subject) -> Iterator[Found]:
    """Who may speak for the service."""
    access = subject.unit.choice("NotifyAccess", ("none", "main", "exec", "all"), "main")
    if subject.main_is_target:
        if access != "all":
            text = f"--main target: NotifyAccess={access} shuts the sidecar out: no READY=1"
            yield Found("NotifyAccess", text, "write NotifyAccess=all", Severity.ERROR)
    elif access == "none" and subject.is_notify:
        text = "NotifyAccess=none has no effect with Type=notify: systemd takes it as main"
        yield Found("NotifyAccess", text, "leave it out", Severity.HINT)
    elif access in ("all", "exec"):
        who = "any process of the service" if access == "all" else "ExecStartPost= and the like"
        what = "say READY=1" if subject.watchdog_s is None else "pet the watchdog"
        text = f"NotifyAccess={access}: {who} may {what} in the daemon's place"
        fix = "leave it out: notifywrap is the main process and the only sender"
        if not subject.is_ours:
            fix = "write NotifyAccess=main if the main process alone speaks to systemd"
        yield Found("NotifyAccess", text, fix)


def kill_mode(subject: Subject) -> Iterator[Found]:
    """control-group sends TERM to notifywrap and to its target, which then gets it twice."""
    mode = subject.unit.choice("KillMode", ("control-group", "mixed", "process", "none"), "")
    if subject.main_is_target:
        return
    if mode in ("", "control-group"):
        if "TERM=0" not in subject.values.get("--map-signal", ()):
            yield Found(
                "KillMode",
                "KillMode=control-group: the target gets TERM twice, and some cut their clean stop"
                " short then",
                "write KillMode=mixed",
            )
    elif mode != "mixed":
        text = f"KillMode={mode}: what the target leaves behind stays after the service has stopped"
        yield Found("KillMode", text, "write KillMode=mixed")


def watchdog_restart(subject: Subject) -> Iterator[Found]:
    """A watchdog that kills, and nobody who starts again."""
    is_activated = subject.has_sockets or subject.unit.text("BusName")  # its next client starts it
    if subject.watchdog_s and not is_activated and subject.restart not in _RESTARTS_HANGS:
        yield Found(
            "WatchdogSec",
            f"WatchdogSec= with Restart={subject.restart}: a service that hangs is killed and stays"
            " down",
            "add Restart=on-failure",
        )


def watchdog_short(subject: Subject) -> Iterator[Found]:
    """Restarts for a machine that is busy."""
    if subject.watchdog_s is not None and subject.watchdog_s < 1:
        text = f"WatchdogSec={format_duration(subject.watchdog_s)}: a busy machine may miss it"
        yield Found("WatchdogSec", text, "30s suits most services, 1s works", Severity.HINT)


def gives_up(subject: Subject) -> Iterator[Found]:
    """The start limit's default is over after a second of a broken configuration."""
    unit = subject.unit
    # The others do not act on an exit status, and with these some failures are final on purpose.
    if subject.restart not in ("always", "on-failure") or unit.words("RestartPreventExitStatus"):
        return
    delay_s = unit.span("RestartSec", default=0.1)
    interval_s = unit.span("StartLimitIntervalSec", default=10.0, section="Unit")
    burst = parse_number(unit.text("StartLimitBurst", "5", "Unit")) or 0
    over_s = delay_s * burst
    if 0 < over_s < interval_s and over_s < SOON_S:
        yield Found(
            "RestartSec" if unit.lines("RestartSec") else "Restart",
            f"Restart={subject.restart} gives up for good after {burst} failed starts"
            f" {format_duration(delay_s)} apart: a port that is busy for a moment is enough",
            "write RestartSec=2s, and in [Unit] StartLimitIntervalSec=5min and StartLimitBurst=10",
        )


def start_forever(subject: Subject) -> Iterator[Found]:
    """Nobody notices a start that never ends."""
    start_s = subject.unit.span("TimeoutStartSec", "TimeoutSec", default=90.0)
    if start_s in (0, math.inf) and "--start-timeout" not in subject.values:
        where = "TimeoutStartSec" if subject.unit.lines("TimeoutStartSec") else "TimeoutSec"
        fix = "name a time longer than the slowest start"
        if subject.is_ours:
            fix += ", or give notifywrap --start-timeout"
        text = f"{where}= is infinite: a start that hangs is never noticed, nothing acts"
        yield Found(where, text, fix)


def stop_forever(subject: Subject) -> Iterator[Found]:
    """TimeoutAbortSec= is TimeoutStopSec= where it is not set."""
    unit = subject.unit
    stop_s = unit.span("TimeoutStopSec", "TimeoutSec", default=90.0)
    abort_s = unit.span("TimeoutAbortSec", default=stop_s)
    if subject.watchdog_s is not None and abort_s in (0, math.inf):
        where = "TimeoutStopSec" if unit.lines("TimeoutStopSec") else "TimeoutSec"
        yield Found(
            "TimeoutAbortSec" if unit.lines("TimeoutAbortSec") else where,
            "after a watchdog's SIGABRT systemd waits without end for a process that does not take"
            " it: it is never restarted",
            "add TimeoutAbortSec=30s",
        )


def no_kill(subject: Subject) -> Iterator[Found]:
    """A hung process takes no other signal."""
    if subject.unit.lines("SendSIGKILL") and not subject.unit.flag("SendSIGKILL"):
        text = "SendSIGKILL=no: a process that hangs is left behind, with its port and its files"
        yield Found("SendSIGKILL", text, "leave it out, and raise TimeoutStopSec= instead")


def stop_signal(subject: Subject) -> Iterator[Found]:
    """The signal that systemd stops with must be the one that notifywrap takes for it."""
    sent = subject.unit.text("KillSignal", "SIGTERM").upper().removeprefix("SIG")
    taken = subject.values.get("--stop-signal", ["TERM"])[0].upper().removeprefix("SIG")
    names = {"15": "TERM", "2": "INT", "3": "QUIT", "1": "HUP"}
    if names.get(sent, sent) != names.get(taken, taken) and not subject.main_is_target:
        yield Found(
            "KillSignal",
            f"KillSignal={sent}, but notifywrap takes {taken} for the stop: STOPPING=1 is not said"
            " and a drain counts as a failure",
            f"write --map-signal TERM={sent} in place of KillSignal=, or add --stop-signal {sent}",
        )


def reload_way(subject: Subject) -> Iterator[Found]:
    """How `systemctl reload` gets to the target, and back."""
    commands = subject.unit.commands("ExecReload")
    if subject.type == "notify-reload":
        signal = subject.unit.text("ReloadSignal", "SIGHUP").upper().removeprefix("SIG")
        if signal not in ("HUP", "1"):
            text = f"ReloadSignal={signal}: notifywrap takes only HUP for a reload"
            fix = f"leave it out and write --reload {signal}"
            yield Found("ReloadSignal", text, fix, Severity.ERROR)
        if commands:
            yield _reload_beside(*commands[0])
        return
    if subject.main_is_target:
        return
    for command, line in commands:
        if os.path.basename(command.path) == "kill":
            yield Found(
                line,
                "ExecReload=kill: `systemctl reload` may return before the target has reloaded, and"
                " never says that it failed",
                "write ExecReload=notifywrap reload $MAINPID",
            )
        elif os.path.basename(command.path) == "notifywrap" and not _names_main_pid(command):
            text = "ExecReload=notifywrap does not say whom to reload"
            fix = "write ExecReload=notifywrap reload $MAINPID"
            yield Found(line, text, fix, Severity.ERROR)
    is_asked = subject.run is not None and "--reload" in subject.run.words
    if is_asked and not commands:
        text = "--reload is never asked for: the unit has no ExecReload="
        fix = "add ExecReload=notifywrap reload $MAINPID (or Type=notify-reload, systemd 253)"
        yield Found("ExecStart", text, fix, Severity.HINT)


def _reload_beside(command: Command, line: Assignment) -> Found:
    """Tried: systemd 257 signals before it runs ExecReload=, 262 after that has gone well."""
    text = "systemd sends HUP itself for Type=notify-reload"
    fix = "leave ExecReload= out"
    if os.path.basename(command.path) in ("kill", "notifywrap"):
        text += ": with this ExecReload= the target may be reloaded twice"
    else:
        text += (
            ", up to 257 before ExecReload= is run: if that fails, the target has reloaded anyway"
        )
        fix += ", or have notifywrap run it in place of HUP: --reload exec:COMMAND"
    return Found(line, text, fix)


def _names_main_pid(command: Command) -> bool:
    return command.argv[1:2] == ("reload",) and command.argv[-1] in ("$MAINPID", "${MAINPID}")


def exec_prefix(subject: Subject) -> Iterator[Found]:
    """Prefixes of ExecStart= that undo what the unit says."""
    for command, line in subject.starts:
        if "-" in command.prefixes:
            text = "ExecStart=-: a failure counts as success, so Restart=on-failure does nothing"
            yield Found(line, text, "take the - away")
        if "+" in command.prefixes or "!" in command.prefixes:
            text = f"ExecStart={command.prefixes}: User= and more do not hold for the service"
            yield Found(line, text, "take the prefix away")


def remains(subject: Subject) -> Iterator[Found]:
    """Active without a process."""
    if subject.unit.flag("RemainAfterExit"):
        text = "RemainAfterExit=yes: the unit stays active when the target has ended"
        yield Found("RemainAfterExit", text, "leave it out")


def oom_policy(subject: Subject) -> Iterator[Found]:
    """The kernel kills a worker, and the service goes on without.

    The end of the target itself is the wrapper's, and a watchdog with probes finds what matters.
    """
    is_watched = subject.watchdog_s and subject.probes
    if subject.unit.text("OOMPolicy") == "continue" and not is_watched:
        text = "OOMPolicy=continue: when the kernel kills a part of the target, nobody restarts it"
        yield Found("OOMPolicy", text, "leave it out (stop), or add WatchdogSec= and a probe")


def socket_hidden(subject: Subject) -> Iterator[Found]:
    """NOTIFY_SOCKET is systemd's to say."""
    if "NOTIFY_SOCKET" in subject.unit.words("UnsetEnvironment"):
        text = "UnsetEnvironment=NOTIFY_SOCKET: nobody can say READY=1: the start times out"
        yield Found("UnsetEnvironment", text, "take it away", Severity.ERROR)
    if "NOTIFY_SOCKET" in subject.env:
        where = next(
            line for line in subject.unit.lines("Environment") if "NOTIFY_SOCKET" in line.value
        )
        text = "Environment=NOTIFY_SOCKET: it overrides systemd's own, and READY=1 gets lost"
        yield Found(where, text, "take it away", Severity.ERROR)


def sender(subject: Subject) -> Iterator[Found]:
    """With NotifyAccess=main only the main process is heard."""
    access = subject.unit.choice("NotifyAccess", ("none", "main", "exec", "all"), "main")
    if access in ("none", "main"):
        for key in ("ExecStartPre", "ExecStartPost", "ExecReload"):
            for command, line in subject.unit.commands(key):
                if os.path.basename(command.path) == "systemd-notify":
                    # Tried with systemd 252: it is given no NOTIFY_SOCKET and ends with 1.
                    text = f"{key}=systemd-notify fails: NotifyAccess=main is for the main process"
                    fix = "write NotifyAccess=exec, or leave it to the main process"
                    yield Found(line, text, fix, Severity.ERROR)
    if subject.daemon in _CHANGERS:
        what = subject.daemon
        if subject.is_ours:
            text = f"{what} stands between notifywrap and the target and may not pass signals on"
        else:
            text = f"{what} is the main process: what the daemon says to systemd is not heard"
        yield Found("ExecStart", text, "name the user with User= and start the daemon itself")


RULES = (
    Rule("type", About.OURS, type_of_service),
    Rule("notify-access", About.NOTIFY, notify_access, is_advice=True),
    Rule("kill-mode", About.OURS, kill_mode),
    Rule("watchdog-restart", About.NOTIFY, watchdog_restart),
    Rule("watchdog-short", About.NOTIFY, watchdog_short),
    Rule("gives-up", About.NOTIFY, gives_up, is_advice=True),
    Rule("start-forever", About.NOTIFY, start_forever, is_advice=True),
    Rule("stop-forever", About.NOTIFY, stop_forever, is_advice=True),
    Rule("no-kill", About.NOTIFY, no_kill, is_advice=True),
    Rule("stop-signal", About.OURS, stop_signal),
    Rule("reload", About.OURS, reload_way),
    Rule("exec-prefix", About.OURS, exec_prefix),
    Rule("remains", About.OURS, remains),
    Rule("oom-policy", About.OURS, oom_policy),
    Rule("socket-hidden", About.NOTIFY, socket_hidden),
    Rule("sender", About.NOTIFY, sender),
)
