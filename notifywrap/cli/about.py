"""`--help` and `--version`: one screen per topic."""

from __future__ import annotations

from notifywrap import __version__
from notifywrap.cli.aboutharden import HARDEN
from notifywrap.cli.aboutunits import CHECK, UNIT
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
  notifywrap reload [--timeout TIME] PID            what ExecReload= runs before systemd 253
  notifywrap check UNIT...                          what is wrong with a unit
  notifywrap unit list|show|install|new             hardened units, shipped and written
  notifywrap drill UNIT-FILE | -- COMMAND           what could an intruder in it do?
  notifywrap harden UNIT-FILE | -- COMMAND          find the tightest sandbox it works in
  notifywrap --help [options|probes|http|times|config|unit|jail|exit|
                     try|probe|reload|drill|harden|check]
  notifywrap --version

Options that most units need; `notifywrap --help options` has all of them
  --probe PROBE       ready and live probe in one                            repeatable
  --ready PROBE       must pass once before READY=1                          repeatable
  --live PROBE        must pass for each WATCHDOG=1                          repeatable
  --period TIME       how often a live round                   WatchdogSec/4, at most 10s
  --timeout TIME      how long one attempt may take            WatchdogSec/4, at most 5s
  --start-timeout TIME    keep systemd waiting this long for READY=1      systemd's limit
  --reload SIGNAL|exec:CMD    what `systemctl reload` does to the target              HUP
  --preset NAME       what is known of a daemon; none for nothing   the command's own name
  --config FILE       the same settings in TOML                                      none
  --log-level LEVEL   error, warning, notice, info or debug                          info

Without any probe notifywrap waits until the target's listening sockets have settled and
accepts connections on each of them. Name the one that matters with --probe.

Start here:  notifywrap try --probe http://127.0.0.1:8080/ping -- traefik
"""

OPTIONS = """\
All options, with what holds without them. Those for https probes: notifywrap --help http

Probes: of a repeatable option all must pass
  --probe PROBE           ready and live probe in one                        repeatable
  --ready PROBE           must pass once before READY=1                      repeatable
  --live PROBE            must pass for each WATCHDOG=1                      repeatable
Times
  --period TIME           how often a live round               WatchdogSec/4, at most 10s
  --timeout TIME          how long one attempt may take        WatchdogSec/4, at most 5s
  --stable-for TIME       ready probes must keep passing this long                      0
  --start-timeout TIME    keep systemd waiting up to this, then stop the target and exit
                          125                                             systemd's limit
  --kill-after TIME       TERM to KILL, where notifywrap itself stops the target      10s
  --fail-after N          make systemd act after N failed rounds, not after WatchdogSec  off
Signals
  --reload SIGNAL|exec:CMD    what `systemctl reload` does to the target; 0: nothing  HUP
  --reload-timeout TIME   then READY=1 all the same, and STATUS says it failed        60s
  --stop-signal SIG       the signal that means stop (KillSignal= of the unit)       TERM
  --map-signal FROM=TO    e.g. TERM=QUIT; TO may be 0: not passed on         repeatable
  --sigpipe ignore|default    what the target finds for SIGPIPE                    ignore
The target
  --target-notify auto|require|ignore    what its own sd_notify messages mean        auto
  --main wrapper|target   who is the service's main process; target: the wrapper only
                          probes, and the unit needs NotifyAccess=all             wrapper
  --pidfile PATH          it daemonizes or re-executes itself: follow this pid       none
  --jail[=RULE,...]       what it is to live without (notifywrap --help jail)         off
  --credential NAME[:VAR]    a systemd credential, as variable VAR of its environment
                          alone; without VAR it is NAME in capitals          repeatable
Settings
  --preset NAME           what is known of a daemon; none for nothing  the command's name
  --config FILE           the same settings in TOML                                  none
  --log journal|stderr    where notifywrap's own lines go                          stderr
  --log-level LEVEL       error, warning, notice, info or debug                      info

A switch such as --tls-insecure is turned off again with =no.
"""

HTTP = """\
How http://, https:// and http+unix:// probes ask, and what they take for an answer

  --http-header K:V       one more header field in the request               repeatable
  --http-header-credential K:NAME    its value is what the credential NAME holds: a file in
                          $CREDENTIALS_DIRECTORY (LoadCredential= of the unit) repeatable
  --http-status RANGES    statuses that pass, e.g. 200-299,401                    200-399
  --http-body REGEX       must be found in the body, its first 64 KiB            any body
  --tls-ca FILE           PEM file with the authorities to trust             the system's
  --tls-cert FILE         PEM file with a certificate to show to the server         none
  --tls-key FILE          PEM file with its key                         in the --tls-cert
  --tls-insecure          any certificate will do                                      no

On the loopback (127.0.0.1, ::1, localhost) any certificate will do unless --tls-ca is given.
With a Host header, its name is also the one that the certificate must be for.

They hold for all http probes. A [[probe]] table of --config has its own.
The request is a GET, through no proxy, and no redirect is followed.
"""

CONFIG = """\
Where settings come from; the first that has one wins, and its list replaces the others'

  1. the command line       --period 2s
  2. the environment        NOTIFYWRAP_PERIOD=2s       a drop-in can tune a unit this way
  3. the file of --config   period = "2s"
  4. a preset               chosen by the command's name, or with --preset NAME

--probe, --ready and --live go together: the first place that has any of them decides all
three. In the environment a repeatable option takes one value a line; an empty value means
that the option is not set, as in a unit: later places do not count for it either. Only a
jail is not turned off so: write NOTIFYWRAP_JAIL=no.

The file of --config is TOML; keys are the options without dashes, bare numbers are seconds:

  period = "2s"
  map-signal = ["TERM=QUIT"]
  [[ready]]
  probe = "https://127.0.0.1:8443/ready"
  tls-ca = "ca.pem"                             relative to the file's directory
  [[live]]
  probe = "tcp:8443"

A preset is what is known of a daemon's health page, reload and stop signals. Chosen by the
command's name (traefik, minio, nginx, ...) its probes are hints: tried where the daemon
listens on the usual port, and not held against it. With --preset NAME they must pass.
--preset none turns it off.
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
  http://HOST[:PORT]/PATH   https://...   http+unix://%2Frun%2Fx.sock/PATH
      GET answered with status 200 to 399 (notifywrap --help http has the options).
  grpc://HOST:PORT[/SERVICE]
      its grpc.health.v1 says SERVING. Needs: pip install 'notifywrap[grpc]'
  exec:COMMAND ARG...
      exits 0. Words are split as a shell would; no shell runs.
  file:/path
      exists. Live only if asked for.
  log:REGEX
      a line of the target's stdout or stderr matches. The lines pass through unchanged.
      For --ready only.
  fd:N
      the target writes a newline to its descriptor N, 3 or more (as for s6). For --ready only.
  notify
      the target says READY=1 itself with sd_notify; as a live probe, WATCHDOG=1.
  rss:SIZE  fds:PERCENT
      all processes of the target together have at most SIZE (512M) resident; none of them
      has more than PERCENT of its LimitNOFILE= open.
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
  125  notifywrap itself failed (NOTIFY_SOCKET or WATCHDOG_USEC unusable, cannot fork),
       --start-timeout was over, or --jail=strict where this kernel cannot enforce something
  126  COMMAND was found but cannot be executed
  127  COMMAND was not found

`notifywrap try` exits 0 if the target became ready and the watchdog never fired, else 1.
"""

JAIL = """\
--jail[=RULE,...] takes away from the target what it does not need. The wrapper, exec: probes
and --reload exec: stay outside. What is listed holds, and nothing else does.

  --jail          alone: --jail=default
  default         exec,nofork,nounix,nomemfd
  exec            executes nothing but the target, and the interpreter or loader it needs
  exec=PATH       ... and PATH: a file (and what that needs), or all files below a directory
  nofork          starts no process (EPERM); threads are fine
  nounix          makes no AF_UNIX socket: no D-Bus, no syslog, no sd_notify of its own.
                  Stream pairs and inherited sockets still work; datagram pairs do not
  nomemfd         no memfd_create, which makes programs out of memory
  nosignal        signals nobody but itself
  read=PATH       reads nothing but PATH, itself, and the libraries in /lib and /usr/lib
                  (where a link in PATH leads to counts: /etc/resolv.conf often leads to /run)
  write=PATH      writes, creates and removes nothing but in PATH (where it may read, too)
  nowrite         ... nothing at all, but for what it was given open, and /dev/null
  bind=PORT       binds no TCP port but PORT; 0 is for those that the kernel chooses, and for
                  Go programs, which otherwise take IPv6 for missing
  connect=PORT    connects to no TCP port but PORT
  nobind, noconnect    to none. Sockets that systemd passes in still work; UDP always does
  strict          refuses to start where this kernel cannot enforce something

exec=, read=, write=, bind= and connect= can be repeated, as can --jail. A path is absolute
and must exist, unless it is written -PATH. systemd fills in variables and specifiers:

  ExecStart=notifywrap --jail=default,bind=8080 --jail=read=/etc/app,write=${STATE_DIRECTORY} \\
      -- /usr/bin/app

At start one line says what this kernel cannot enforce. Paths need Linux 5.13, ports 6.7,
nosignal 6.12, each with Landlock; nofork, nounix and nomemfd need x86_64 or aarch64. Without
Landlock the target can also take over (ptrace) processes of its user outside: exec: probes.
With it mount(2) is denied, too, unless bind=, connect= or nosignal are all that there is.
no_new_privs is set: a set-user-ID bit or file capabilities of the target do not count.

What it does not hold
  exec            a loader, an interpreter or dlopen(3) runs code from any file that it can read
                  (add read=, or NoExecPaths= in the unit)
  write=, nowrite    mode, owner, times and extended attributes of files can still be changed
  bind=, nobind   a socket that was never bound may listen, on a port that the kernel chooses
  root            with all capabilities: CAP_SYS_ADMIN executes memory by way of
                  /proc/self/map_files. Set User= and CapabilityBoundingSet= in the unit
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
notifywrap probe [--timeout TIME] [HTTP OPTIONS] PROBE...

Tries each probe once, now, and prints what came of it. Exit 0 if all passed, 1 if not, 2 for
misuse. There is no target here: listen: passes whoever listens. See notifywrap --help probes.
"""

RELOAD = """\
notifywrap reload [--timeout TIME] PID

Asks the notifywrap with this process id to reload its target, and waits until the ready probes
pass again. Exit 0 then; 1 if they do not, or if it cannot be asked (one line says why); 2 for
misuse. Only root and the service's own user may ask. In the unit, before systemd 253:

  [Service]
  Type=notify
  ExecReload=/usr/local/bin/notifywrap reload $MAINPID

With systemd 253 or later Type=notify-reload does without ExecReload=. What the target gets is
--reload (HUP), and --reload-timeout is how long it may take; --timeout only ends the waiting.
"""

DRILL = """\
notifywrap drill [OPTIONS] UNIT-FILE
notifywrap drill [OPTIONS] [--jail[=RULES]] -- COMMAND [ARG...]

Tries what an intruder would try who has taken over the service, from inside its sandbox, and
prints what worked: a list of 66 attempts that units are compared by, and more below it.

For a unit: all of its settings that make the sandbox are put into a throwaway unit of another
name, with state directories of its own, which runs the attempts in place of the service, as
the child of a notifywrap where the unit has one, and in its --jail. For a command: the attempts
are made right here, as whoever you are; with --jail in that jail. Root is needed for a unit.

  --list              what each attempt does, and what it is about in this unit
  --json              the results for programs
  --max-allowed N     exit status 1 when more than N of the 66 worked
  --lab               boots a systemd for it, for machines and containers that run none

Nothing is changed outside: files are made under names of their own and removed, or opened and
not written to; signals are signal 0; what would change the machine is called with arguments
that the kernel refuses, but only after it has found that the service may. Such an attempt is
ALLOWED and shows the errno. All that it made is removed, also when it is interrupted or killed.

Exit 0, 1 for more than --max-allowed, 2 for misuse, 125 when the attempts could not be made.
"""

TOPICS = {
    "": GENERAL,
    "check": CHECK,
    "config": CONFIG,
    "drill": DRILL,
    "exit": EXIT,
    "harden": HARDEN,
    "http": HTTP,
    "jail": JAIL,
    "options": OPTIONS,
    "probe": PROBE,
    "probes": PROBES,
    "reload": RELOAD,
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
