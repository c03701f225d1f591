"""Serves on the socket named "web" that it was handed, and keeps a file in systemd's fd store.

Says what it was handed. In its first life it stores the file, in each later one it reads it.
"""

import os
import socket
import sys
import tempfile


def main() -> None:
    is_ours = os.environ.get("LISTEN_PID") == str(os.getpid())
    names = os.environ.get("LISTEN_FDNAMES", "").split(":") if is_ours else []
    handed = {name: fd for fd, name in enumerate(names, 3)}
    say(f"handed {' '.join(names)}")
    if "kept" in handed:
        say(f"kept {os.pread(handed['kept'], 100, 0).decode()}")
    elif "NOTIFY_SOCKET" in os.environ:
        store("from the first life")
    listener = socket.socket(fileno=handed["web"])
    while True:
        connection, _ = listener.accept()
        connection.sendall(connection.recv(65536))
        connection.close()


def store(text: str) -> None:
    with tempfile.TemporaryFile() as file, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        file.write(text.encode())
        file.flush()
        address = os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)
        fds = (socket.SOL_SOCKET, socket.SCM_RIGHTS, file.fileno().to_bytes(4, sys.byteorder))
        ours.sendmsg([b"FDSTORE=1\nFDNAME=kept"], [fds], 0, address)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
