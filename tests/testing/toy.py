"""A daemon that does what its arguments say, one after the other. Speaks sd_notify by hand.

say:TEXT              sends TEXT (with \\n for a line break)
say-from-child:TEXT   the same from another process
ping:PERIOD:N         N pings, PERIOD seconds apart
wait                  for ever
exit:N, kill:N        ends, by status or by signal
ignore:N              ignores signal N
stop                  stops itself (SIGSTOP)
fork, orphan          leaves a child, or a daemonized one, that lives for ever, deaf to TERM
print:TEXT, complain:TEXT   a line on stdout, stderr
env:NAME              prints a variable
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading


def say(text: str) -> None:
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect("\0" + address[1:] if address[0] == "@" else address)
        sender.send(text.replace("\\n", "\n").encode())


def wait() -> None:
    while True:
        signal.pause()


def linger() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait()


def orphan() -> None:
    """A grandchild in a session of its own; returns when it is there."""
    there, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(tell, b"%d" % os.getpid())
            linger()
        os._exit(0)
    os.wait()
    print(os.read(there, 10).decode(), flush=True)


def child() -> None:
    there, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(tell, b"!")
        linger()
    os.read(there, 1)
    print(pid, flush=True)


def say_from_child(text: str) -> None:
    pid = os.fork()
    if pid == 0:
        say(text)
        os._exit(0)
    os.waitpid(pid, 0)


def ping(arguments: str) -> None:
    period, _, count = arguments.partition(":")
    clock = threading.Event()
    for _ in range(int(count)):
        say("WATCHDOG=1")
        clock.wait(float(period))


DEEDS = {
    "say": say,
    "say-from-child": say_from_child,
    "wait": lambda _: wait(),
    "exit": lambda code: sys.exit(int(code)),
    "kill": lambda signum: os.kill(os.getpid(), int(signum)),
    "ignore": lambda signum: signal.signal(int(signum), signal.SIG_IGN),
    "fork": lambda _: child(),
    "orphan": lambda _: orphan(),
    "print": lambda text: print(text, flush=True),
    "complain": lambda text: print(text, file=sys.stderr, flush=True),
    "env": lambda name: print(os.environ.get(name, "-"), flush=True),
    "ping": ping,
    "stop": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
}

for deed in sys.argv[1:]:
    name, _, rest = deed.partition(":")
    DEEDS[name](rest)
