"""A client for services in a lab: it has to run in there, where the network is. Prints JSON.

ask.py get URL [CA-FILE]      {"status": 200, "body": "..."}, or {"error": "..."}; with CA-FILE the
                              certificate is verified. Names lead to 127.0.0.1
ask.py from ADDRESS URL        the same, from another address
ask.py first UNIT N URL       starts it N times and asks at once: {"200": N}
ask.py during PORT COMMAND... runs it and connects to the port again and again meanwhile:
                              {"refused": N, "made": N}
ask.py burst PORT-OR-PATH WORDS ANSWER N PID...
                              stops the PIDs, makes N connections at once, lets them go on, says
                              WORDS on each: {"answered": N} of the replies have ANSWER
"""

from __future__ import annotations

import collections
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import Any

LIMIT_S = 20.0


def get(url: str, ca_file: str = "") -> dict[str, object]:
    resolve = socket.getaddrinfo

    def resolve_here(host: str, *more: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if host.endswith(".test") else host, *more, **named)

    socket.getaddrinfo = resolve_here
    context = ssl.create_default_context(cafile=ca_file or None)
    if not ca_file:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=LIMIT_S, context=context) as reply:
            return {"status": reply.status, "body": reply.read().decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read().decode()}
    except OSError as error:
        return {"error": str(error)}


def ask_from(address: str, url: str) -> dict[str, object]:
    connect = socket.create_connection

    def connect_from(where: Any, timeout: float = LIMIT_S, *_: Any) -> socket.socket:
        return connect(where, timeout, (address, 0))

    http.client.socket.create_connection = connect_from  # type: ignore[attr-defined]
    return get(url)


def first(unit: str, times: str, url: str) -> dict[str, object]:
    count: collections.Counter[str] = collections.Counter()
    for _ in range(int(times)):
        subprocess.run(["systemctl", "start", unit], check=True)
        reply = get(url)
        count[str(reply.get("status") or reply["error"])] += 1
        subprocess.run(["systemctl", "stop", unit], check=True, stderr=subprocess.DEVNULL)
    return dict(count)


def during(port: str, *command: str) -> dict[str, object]:
    count = {"refused": 0, "made": 0}
    over = threading.Event()

    def knock() -> None:
        while not over.is_set():
            try:
                socket.create_connection(("127.0.0.1", int(port)), LIMIT_S).close()
                count["made"] += 1
            except (ConnectionRefusedError, ConnectionResetError):  # reset: the listener just went
                count["refused"] += 1

    client = threading.Thread(target=knock)
    client.start()
    subprocess.run(command, check=True)
    over.set()
    client.join()
    return count


def burst(where: str, words: str, answer: str, number: str, *pids: str) -> dict[str, object]:
    for pid in pids:
        os.kill(int(pid), signal.SIGSTOP)
    try:
        clients = [connect(where) for _ in range(int(number))]
    finally:
        for pid in pids:
            os.kill(int(pid), signal.SIGCONT)
    for client in clients:
        client.sendall(words.encode())
    return {"answered": sum(is_answered(client, answer.encode()) for client in clients)}


def connect(where: str) -> socket.socket:
    if not where.startswith("/"):
        return socket.create_connection(("127.0.0.1", int(where)), LIMIT_S)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(LIMIT_S)
    client.connect(where)
    return client


def is_answered(client: socket.socket, answer: bytes) -> bool:
    """And be gone then: a server may wait for that."""
    reply = b""
    with client:
        while answer not in reply:
            data = client.recv(4096)
            if not data:
                return False
            reply += data
    return True


COMMANDS = {"get": get, "from": ask_from, "first": first, "during": during, "burst": burst}
print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
