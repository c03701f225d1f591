"""Help on what is done with unit files."""

from __future__ import annotations

__all__ = ["CHECK", "UNIT"]

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

Hardened units come along, and new ones are written:

  notifywrap unit list
  notifywrap unit show NAME
  notifywrap unit install [--root DIR] [--force] [--notify-reload] NAME
      copies its files to /etc and says what to do next. A file there that differs is
      left alone unless --force is given. --notify-reload adds a drop-in with which systemd
      253 asks for the reload itself, in place of ExecReload=; `systemctl reload` then succeeds
      also where the reload fails. Units that check something first refuse it.
  notifywrap unit new [--name NAME] [--user USER] [--output FILE] [OPTIONS] -- COMMAND
      prints a hardened unit for COMMAND, each setting with its reason. OPTIONS are the
      wrapper's own: --probe is the one to give. Without --user it is DynamicUser=yes.
      ${STATE_DIRECTORY}, ${RUNTIME_DIRECTORY} and ${CREDENTIALS_DIRECTORY} are left for systemd
      to fill in; --credential NAME is read from /etc/UNIT/NAME.

`notifywrap check UNIT` says what is wrong with a unit.
`systemctl status` shows what is waited for, what is watched, and why a target is unhealthy.
"""

CHECK = """\
notifywrap check [--json] [--root DIR] UNIT...

Says what is wrong with units that run notifywrap, and with any of Type=notify: settings that
contradict each other, a sandbox that keeps a probe from its target or a program from being
executed, a watchdog or a restart that will not act as it reads, paths that are missing, options
that notifywrap refuses. Of any service: what systemd refuses or ignores, misspelled settings.

  UNIT         a name (traefik.service, web@1.service): found as systemd finds it, with its
               drop-ins, aliases and templates; or a path with a slash in it: the file as it
               is, with the FILE.d directory beside it
  --root DIR   look names up in another tree
  --json       for programs

A finding is one line, in the file and line that it is about:

  FILE:LINE: error|warning|hint: what happens; what to write instead [rule]

error: systemd refuses the unit, or a part of it cannot work. warning: systemd ignores
something, or it works until it matters. hint: for reading. Exit 1 if there is an error or a
warning, 0 if not, 2 for misuse and for a UNIT that cannot be read (masked, no regular file, more
than 4 MiB): that is said on stderr, and the others are checked. systemd is not asked and need
not be there.
"""
