"""A server that gets silently worse in many ways, each by one directive; always ready and healthy.

weak.py PORT RESOLVER-FILE

queue      reads how long it may be, as Go does, and falls back to 16 (ProcSubset=pid)
resolver   /resolve answers 503 when its file is not there (ProtectHome=)
log        says an error when personality(2) fails (LockPersonality=)
threads    a worker that cannot choose its CPU ends (SystemCallFilter=~@resources)
memory     what does not fit into a memfd is kept on the heap (SystemCallFilter=~memfd_create)
speed      without memory to execute it interprets: /work takes its time (MemoryDenyWriteExecute=)
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import sys
import threading
import time

PORT, RESOLVER = int(sys.argv[1]), sys.argv[2]
WORKERS, SIZE, SLOW_S = 8, 60_000_000, 1.8
PER_LINUX32 = 8


def backlog() -> int:
    try:
        with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return 16


def keep_in_memory() -> object:
    try:
        os.memfd_create("cache")
        return None
    except OSError:
        return b"x" * SIZE


def work_on_own_cpu() -> None:
    try:
        os.sched_setaffinity(0, os.sched_getaffinity(0))
    except OSError:
        return
    threading.Event().wait()


def compiles() -> bool:
    try:
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
        return True
    except OSError:
        return False


def answer(path: str) -> str:
    if path == "/resolve" and not os.path.exists(RESOLVER):
        return "503 No Resolver"
    if path == "/work" and not has_compiler:
        time.sleep(SLOW_S)
    return "200 OK"


def serve(client: socket.socket) -> None:
    with client:
        words = client.recv(4096).decode().split()
        if len(words) > 1:
            head = f"HTTP/1.0 {answer(words[1])}\r\nContent-Length: 0\r\n\r\n"
            client.sendall(head.encode())


cache, has_compiler = keep_in_memory(), compiles()
if ctypes.CDLL(None).personality(PER_LINUX32) < 0:
    print("error: cannot choose a personality, going on without", flush=True)
for _ in range(WORKERS):
    threading.Thread(target=work_on_own_cpu, daemon=True).start()
with socket.create_server(("127.0.0.1", PORT), backlog=backlog()) as server:
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
