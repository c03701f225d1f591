"""Serves on every socket that it was handed (sd_listen_fds(3)), after some seconds: handed.py AFTER

Echoes, and ends when somebody sends "end". Says what it was handed.
"""

import os
import selectors
import signal
import socket
import sys


def main() -> None:
    assert os.environ["LISTEN_PID"] == str(os.getpid()), os.environ["LISTEN_PID"]
    count = int(os.environ["LISTEN_FDS"])
    sys.stdout.write(f"handed {count}: {os.environ['LISTEN_FDNAMES']}\n")
    sys.stdout.flush()
    signal.sigtimedwait((), float(sys.argv[1]))
    selector = selectors.DefaultSelector()
    for fd in range(3, 3 + count):
        selector.register(socket.socket(fileno=fd), selectors.EVENT_READ)
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    while True:
        for key, _ in selector.select():
            connection, _ = key.fileobj.accept()
            with connection:
                received = connection.recv(65536)
                connection.sendall(received)
            if received == b"end":
                return


if __name__ == "__main__":
    main()
