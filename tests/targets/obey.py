"""Says which signals it gets, and does what it was told to do about them.

    obey.py ADDRESS [NAME=STATUS...]        TERM=3: exits with 3 at SIGTERM; TERM=: only says so

ADDRESS is an abstract AF_UNIX one (@name) that it listens on once it is ready for signals.
"""

import os
import signal
import socket
import sys

# What would end or stop it otherwise; CHLD and the like come by themselves.
SAID = ("HUP", "INT", "QUIT", "USR1", "USR2", "PIPE", "ALRM", "CONT", "WINCH", "IO", "PWR")


def main() -> None:
    address, *orders = sys.argv[1:]
    statuses = dict(order.split("=") for order in orders)
    numbers = {getattr(signal, f"SIG{name}"): name for name in (*SAID, *statuses)}
    numbers |= {signal.SIGRTMIN + offset: f"RTMIN+{offset}" for offset in range(1, 9)}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + address[1:])
    listener.listen()
    while True:
        name = numbers[signal.sigwait(numbers)]
        sys.stdout.write(f"got {name}\n")
        sys.stdout.flush()
        if statuses.get(name):
            os._exit(int(statuses[name]))


if __name__ == "__main__":
    main()
