"""Help on `notifywrap harden`."""

from __future__ import annotations

__all__ = ["HARDEN"]

HARDEN = """\
notifywrap harden [OPTIONS] UNIT
notifywrap harden [OPTIONS] [OPTIONS OF NOTIFYWRAP] -- COMMAND [ARG...]

Finds the tightest sandbox under which a service still works, by trying: it starts a copy of the
service again and again, each time with more taken away, and keeps what the service does not
miss. What it keeps is printed as a drop-in, each line with its reason, together with what was
rejected and why. For a command: a unit as well.

A setting is kept only if the copy becomes ready, stays healthy, answers the exercises, and does
nothing worse than before: queues of its listeners, lost or slow connections, warnings in its
log, threads, memory, time to start. So give it work that is like the real work:

  --exercise CMD      run by sh in every round; must end with 0 (may be given more than once).
                      The copy's unit is called $NOTIFYWRAP_UNIT; its state, cache, log and
                      runtime directories are seen where the originals are
  --exercise-timeout TIME   for each of them                                           30s
  --state copy|none   the copy gets a copy of the state, cache, log and runtime
                      directories, made anew for each round; none: empty ones          copy
  --copy PATH         one more path that the service writes to (more than once)
  --max-rounds N      what was not tried by then is named                              80
  --lab               boots a systemd for it, with a network of its own; the rule where none runs
  --output DIR        writes NAME.service.d/50-harden.conf there (/etc/systemd/system), and
                      the units beside it, for sockets and backends
  --json              the result for programs

Root is needed. What runs are throwaway units of another name (notifywrap-harden-...): the
service itself must not be running, or use --lab. They write to copies alone, and to their own
/tmp; everything else is read-only for them. What the service does by network it does: give it
a configuration for tests where that matters.

A root directory that is found to fit is /etc/systemd/system/NAME.service.root: --output makes
it, with a file that says so; it stays empty but for mount points.

ctrl-C ends the search and prints what is proven so far. Nothing of it stays: neither unit nor
file nor process, also when it is killed.

Exit 0 when the result was proven once more from scratch, 1 when not, 2 for misuse, 125 when the
service does not work as it is or cannot be tried, 130 after ctrl-C.
"""
