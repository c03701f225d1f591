"""What is wrapped: a small server. usage: python3 -I -S target.py PORT START_S [unwell]

Listens on PORT after START_S seconds and prints the moment (CLOCK_MONOTONIC, in ns) at which it
did. "unwell": listens at once, answers 503 until START_S has passed, and prints when that will be.
"""

import socket
import sys
import time

port, start_s, unwell = int(sys.argv[1]), float(sys.argv[2]), len(sys.argv) > 3
began_ns = time.monotonic_ns()
well_ns = began_ns + round(start_s * 1e9) if unwell else 0
if not unwell:
    time.sleep(start_s)
server = socket.create_server(("127.0.0.1", port), backlog=128)
print(well_ns or time.monotonic_ns(), flush=True)
while True:
    client, _ = server.accept()
    client.settimeout(0.5)
    try:
        if client.recv(65536):
            status = b"204 No Content" if time.monotonic_ns() >= well_ns else b"503 Not Yet"
            client.sendall(b"HTTP/1.1 %s\r\nConnection: close\r\n\r\n" % status)
    except OSError:
        pass
    client.close()
