"""A client that says one thing to a service and prints the reply: say.py PORT-OR-PATH WORDS UNTIL.

Run inside a lab. It reads until UNTIL comes, or to the end where UNTIL is "".
"""

from __future__ import annotations

import socket
import sys

LIMIT_S = 20.0


def main(where: str, words: str, until: str) -> None:
    if where.startswith("/"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(LIMIT_S)
        client.connect(where)
    else:
        client = socket.create_connection(("127.0.0.1", int(where)), LIMIT_S)
    reply = b""
    with client:
        client.sendall(words.encode())
        while not until or until.encode() not in reply:
            data = client.recv(65536)
            if not data:
                break
            reply += data
    print(reply.decode(errors="replace"))


main(*sys.argv[1:])
