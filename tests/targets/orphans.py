"""Leaves a process behind, as daemons do: a grandchild in a session of its own that ignores TERM.

orphans.py ADDRESS        an abstract AF_UNIX one (@name), listened on when the grandchild is there
"""

import os
import signal
import socket
import sys


def main() -> None:
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.setsid()
            for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGABRT):
                signal.signal(signum, signal.SIG_IGN)
            os.write(tell, b"\n")
            while True:
                signal.pause()
        os._exit(0)
    os.waitpid(child, 0)
    os.read(ready, 1)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + sys.argv[1][1:])
    listener.listen()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
