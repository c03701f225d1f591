"""A server that does what it is told on stdin, and says when it is done.

usage: told.py tcp PORT | unix PATH | http PORT | none   (PORT 0 takes a free one)

    listen    opens its socket and says "listening PORT"
    deaf      goes on listening, but accepts nothing any more (as a server that hangs does)
    hear      accepts again
    answer X  http: from now on the status line is HTTP/1.1 X ("\\xNN" in it becomes that byte)
    exit N    ends
"""

import os
import select
import socket
import sys

kind, where = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
answer = b"HTTP/1.1 200 OK"
listener: socket.socket | None = None
hears = True


def listen() -> socket.socket:
    if kind == "unix":
        server = socket.socket(socket.AF_UNIX)
        server.bind(where.replace("@", "\0"))
    else:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", int(where)))
    server.listen(64)
    return server


def serve(client: socket.socket) -> None:
    client.settimeout(5)
    try:
        if kind == "http" and client.recv(65536):
            client.sendall(answer + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        client.recv(65536)
    except OSError:
        pass
    client.close()


def obey(line: str) -> None:
    global listener, hears, answer
    word, _, rest = line.strip().partition(" ")
    if word == "listen":
        listener = listen()
        rest = str(listener.getsockname()[1]) if kind != "unix" else where
        word = "listening"
    elif word in ("deaf", "hear"):
        hears = word == "hear"
    elif word == "answer":
        answer = b"HTTP/1.1 " + rest.encode().decode("unicode_escape").encode("latin-1")
    elif word == "exit":
        os._exit(int(rest))
    print(f"{word} {rest}".strip(), flush=True)


print("started", flush=True)
commands = b""
stdin_is_open = True
while True:
    sources = [0] if stdin_is_open else []
    if listener is not None and hears:
        sources.append(listener.fileno())
    ready, _, _ = select.select(sources, [], [])
    if 0 in ready:
        data = os.read(0, 65536)
        stdin_is_open = bool(data)
        *lines, commands = (commands + data).split(b"\n")
        for line in lines:
            obey(line.decode())
    elif listener is not None and listener.fileno() in ready:
        serve(listener.accept()[0])
