"""A client for daemons in a lab: it has to run in there, where the network is.

client.py first UNIT TIMES PORT REQUEST ANSWER
    start it, ask at once, stop it; prints the list of replies
client.py reload UNIT TIMES PORT REQUEST ANSWER
    reload it, ask at once; prints how often: {"done": N, "answered": N, "seconds": SLOWEST}
client.py renew UNIT TIMES PORT REQUEST ANSWER FILE
    write another answer into its configuration, reload it, ask at once, and again ten times;
    prints how often that went well: {"done": N, "fresh": N}
client.py load PORT SECONDS CLIENTS REQUEST ANSWER
    ask again and again; prints {"answered": N, "failed": N}
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time


def ask(port: int, request: bytes, until: bytes = b"") -> bytes:
    """The reply to *request*: all of it, or up to *until*."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(request)
        reply = b""
        while not (until and until in reply):
            data = connection.recv(65536)
            if not data:
                break
            reply += data
    return reply


def first(unit: str, times: str, port: str, request: str, answer: str) -> None:
    replies = []
    for _ in range(int(times)):
        subprocess.run(["systemctl", "start", unit], check=True)
        try:
            reply = ask(int(port), request.encode(), answer.encode())
        except OSError as error:
            reply = repr(error).encode()
        replies.append(reply.decode(errors="replace"))
        subprocess.run(["systemctl", "stop", unit], check=True)
    print(json.dumps(replies))


def reload(unit: str, times: str, port: str, request: str, answer: str) -> None:
    count = {"done": 0, "answered": 0, "seconds": 0.0}
    for _ in range(int(times)):
        began = time.monotonic()
        done = subprocess.run(["systemctl", "reload", unit], stderr=subprocess.DEVNULL, check=False)
        count["done"] += done.returncode == 0
        count["seconds"] = max(count["seconds"], time.monotonic() - began)
        try:
            reply = ask(int(port), request.encode(), answer.encode())
        except OSError:
            reply = b""
        count["answered"] += answer.encode() in reply
    print(json.dumps(count))


def renew(unit: str, times: str, port: str, request: str, answer: str, file: str) -> None:
    count = {"done": 0, "fresh": 0}
    with open(file) as config:
        text = config.read()
    for number in range(int(times)):
        fresh = f"{answer}-{number}."
        with open(file, "w") as config:
            config.write(text.replace(answer, fresh))
        count["done"] += subprocess.run(["systemctl", "reload", unit], check=False).returncode == 0
        replies = [ask(int(port), request.encode()) for _ in range(10)]
        count["fresh"] += all(fresh.encode() in reply for reply in replies)
    print(json.dumps(count))


def load(port: str, seconds: str, clients: str, request: str, answer: str) -> None:
    deadline = time.monotonic() + float(seconds)
    count = {"answered": 0, "failed": 0}
    lock = threading.Lock()

    def work() -> None:
        while True:
            try:
                reply = ask(int(port), request.encode(), answer.encode())
            except OSError:
                reply = b""
            with lock:
                count["answered" if answer.encode() in reply else "failed"] += 1
            if time.monotonic() >= deadline:
                return

    threads = [threading.Thread(target=work) for _ in range(int(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(count))


{"first": first, "load": load, "reload": reload, "renew": renew}[sys.argv[1]](*sys.argv[2:])
