"""`--help` and `--version`: one screen per topic."""

from __future__ import annotations

from notifywrap import __version__
from notifywrap.cli.journal import Journal, show
from notifywrap.errors import NotifywrapError, SpecError
from notifywrap.lean import TYPE_CHECKING
from notifywrap.policy.events import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TOPICS", "main"]

GENERAL = """\
notifywrap makes any daemon a Type=notify service: it starts the daemon, probes it until it
really serves, tells systemd READY=1, and from then on sends WATCHDOG=1 only while it works.

  notifywrap [OPTIONS] -- COMMAND [ARG...]          what ExecStart= runs
  notifywrap try [OPTIONS] [--for TIME] -- COMMAND  the same in a terminal, without systemd
  notifywrap probe [--timeout TIME] PROBE...        try probes once: exit 0 pass, 1 fail
  notifywrap --help [try|probe|probes|times|exit|unit]
  notifywrap --version

Options (a repeatable one may be given several times; all its probes must pass)
  --probe PROBE       ready and live probe in one                            repeatable
  --ready PROBE       must pass once before READY=1                          repeatable
  --live PROBE        must pass for each WATCHDOG=1                          repeatable
  --period TIME       how often a live round                   WatchdogSec/4, at most 10s
  --timeout TIME      how long one attempt may take            WatchdogSec/4, at most 5s
  --kill-after TIME   TERM to KILL, where notifywrap itself stops the target          10s
  --stop-signal SIG   the signal that means stop (KillSignal= of the unit)           TERM
  --sigpipe ignore|default    what the target finds for SIGPIPE                    ignore
  --main wrapper      who is the service's main process                           wrapper
  --log-level LEVEL   error, warning, notice, info or debug                          info

Without any probe notifywrap waits until the target's listening sockets have settled and
accepts connections on each of them. Name the one that matters with --probe.

Start here:  notifywrap try --probe http://127.0.0.1:8080/ping -- traefik
"""

PROBES = """\
What a PROBE can be (for --probe, --ready, --live and `notifywrap probe`)

  listen:PORT  listen:ADDR:PORT  listen:/path  listen:@name
      the target's own processes have a listening socket there; makes no connection.
      As a live probe from --probe or --ready it becomes tcp: or unix:.
  tcp:PORT  tcp:HOST:PORT  tcp:[v6]:PORT
      a connection is made AND the target accepts it: a hung target does not pass,
      although its kernel still completes connections for it.
  unix:/path  unix:@name
      the same on a Unix stream socket
  http://HOST[:PORT]/PATH   http+unix://%2Frun%2Fx.sock/PATH
      GET answered with status 200 to 399. No proxy, no redirect is followed.
  exec:COMMAND ARG...
      exits 0. Words are split as a shell would; no shell runs.
  file:/path
      exists. Live only if asked for.
  alive
      the target runs and is not stopped. Part of every live round anyway.

Without a host, or for localhost, 127.0.0.1 and ::1 are tried in turn.
Probe what a client would ask for: a port that is open proves less than a page that is served.
"""

TIMES = """\
TIME is a time span as systemd writes it: 500ms, 2s, 1min 30s; a bare number is seconds.

From WatchdogSec= in the unit (W) follows when the target is probed: a live round every W/4
(at most 10s), an attempt may take W/4 (at most 5s). A passed round sends WATCHDOG=1; a failed
one sends nothing, and systemd acts W after the last ping. So W is the promise: a target that
stops working is acted on within W. Without WatchdogSec= the rounds (every 10s) only keep
STATUS true. WatchdogSec=30s suits most services.
"""

EXIT = """\
notifywrap ends as its target ended: with the same exit status, or killed by the same signal.
Its own exit statuses:

    2  the command line is wrong; one line says which option and what to do
  125  notifywrap itself failed (NOTIFY_SOCKET or WATCHDOG_USEC unusable, cannot fork)
  126  COMMAND was found but cannot be executed
  127  COMMAND was not found

`notifywrap try` exits 0 if the target became ready and the watchdog never fired, else 1.
"""

UNIT = """\
A unit that uses it (systemd.service(5)):

  [Service]
  Type=notify
  ExecStart=/usr/local/bin/notifywrap --probe http://127.0.0.1:8080/ping -- /usr/bin/traefik
  WatchdogSec=30s
  Restart=on-failure
  KillMode=mixed

Type=notify      `systemctl start` returns when the probes have passed
WatchdogSec=     how soon a hung target is acted on; leave it out for readiness alone
KillMode=mixed   TERM goes to notifywrap, which passes it on once; KILL goes to all
NotifyAccess=    needs nothing: notifywrap is the main process and the only sender

`systemctl status` shows what is waited for, what is watched, and why a target is unhealthy.
"""

TRY = """\
notifywrap try [OPTIONS] [--watchdog TIME] [--for TIME] -- COMMAND [ARG...]

Runs notifywrap and COMMAND under a built-in stand-in for systemd and prints what happens as it
happens: each notification, and what systemd would do. All options of notifywrap work.

  --watchdog TIME   WatchdogSec= of the stand-in; 0 for none                          30s
  --for TIME        stop the service after this long; without it, at ctrl-C

Stopping is systemd's: TERM, and KILL after 10s. A second ctrl-C kills at once.
Exit 0 if the target became ready and the watchdog never fired, 1 if not, 2 for misuse.
"""

PROBE = """\
notifywrap probe [--timeout TIME] PROBE...

Tries each probe once, now, and prints what came of it. Exit 0 if all passed, 1 if not, 2 for
misuse. There is no target here: listen: passes whoever listens. See notifywrap --help probes.
"""

TOPICS = {
    "": GENERAL,
    "exit": EXIT,
    "probe": PROBE,
    "probes": PROBES,
    "times": TIMES,
    "try": TRY,
    "unit": UNIT,
}


def main(words: Sequence[str]) -> int:
    """Print the version or the help on a topic."""
    topic = words[1] if len(words) > 1 else ""
    try:
        if topic not in TOPICS:
            known = ", ".join(name for name in TOPICS if name)
            raise SpecError(f"--help: no topic {topic!r} (there are {known})")
        show(f"notifywrap {__version__}\n" if words[0] == "--version" else TOPICS[topic])
    except NotifywrapError as error:
        Journal().say(Level.ERROR, str(error))
        return error.exit_status
    return 0
