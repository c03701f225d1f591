"""Says "ready"; parent and child each say who they are when they get USR1."""

import os
import signal
import sys


def announce(name: str) -> None:
    signal.signal(signal.SIGUSR1, lambda *_: os.write(1, f"{name}\n".encode()))


parent = os.getpid()
announce("parent")
if os.fork() == 0:
    announce("child")
    os.write(1, b"ready\n")
    while os.getppid() == parent:  # not for ever: USR1 or an orphan's end wakes it up
        signal.sigtimedwait([], 0.1)
    sys.exit()

while True:
    signal.pause()
