"""Says to NOTIFY_SOCKET what it is told to, by lines from stdin or from the FIFO that is named.

    say TEXT        one datagram; "\\n" in it is a line break, "\\xNN" a byte
    give N TEXT     the same with N file descriptors, of files that say "kept"
    child TEXT      a child of it says it, and ends once that is read
    flood N TEXT    N times, waiting for its reader as sd_notify(3) does
    barrier         BARRIER=1; says "barrier" when systemd has answered
    ping SECONDS    WATCHDOG=1 every so often from now on; 0 for no more
    listen PORT     accepts connections there
    exit N          ends

Says "started", with what of sd_notify(3) and of its store it has found, and each line when done.
"""

import os
import select
import socket
import struct
import sys
import time

mouth = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
address = os.environ.get("NOTIFY_SOCKET", "")
listener = None
pause_s, ping_at = 0.0, 0.0


def say(text, fds=()):
    datagram = text.encode().decode("unicode_escape").encode("latin-1")
    try:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))
        mouth.sendmsg([datagram], [rights] if fds else [], 0, address.replace("@", "\0"))
    except OSError as error:
        print(error.strerror, flush=True)


def give(text, count):
    files = [os.memfd_create("kept") for _ in range(count)]
    for file in files:
        os.write(file, b"kept")
    say(text, files)
    for file in files:
        os.close(file)


def by_child(text):
    reader, writer = os.pipe()
    if os.fork() == 0:
        say(text)
        say("BARRIER=1", [writer])
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(writer)
    os.close(reader)
    os.wait()


def barrier():
    reader, writer = os.pipe()
    say("BARRIER=1", [writer])
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)


def obey(line):
    global listener, pause_s, ping_at
    word, _, rest = line.partition(" ")
    number, _, text = rest.partition(" ")
    if word == "say":
        say(rest)
    elif word == "give":
        give(text, int(number))
    elif word == "child":
        by_child(rest)
    elif word == "flood":
        for _ in range(int(number)):
            say(text)
    elif word == "barrier":
        barrier()
    elif word == "ping":
        pause_s, ping_at = float(rest), time.monotonic()
    elif word == "listen":
        listener = socket.create_server(("127.0.0.1", int(rest)))
    elif word == "exit":
        os._exit(int(rest))
    print(line, flush=True)


def found():
    names = os.environ.get("LISTEN_FDNAMES", "")
    if not names or os.environ["LISTEN_PID"] != str(os.getpid()):
        return "nothing"
    kept = [os.pread(3 + number, 9, 0).decode() for number in range(len(names.split(":")))]
    return f"{names} {':'.join(kept)}"


is_mine = os.environ.get("WATCHDOG_PID") == str(os.getpid())
print("started", address[:1], os.environ.get("WATCHDOG_USEC"), is_mine, found(), flush=True)
commands = os.open(sys.argv[1], os.O_RDWR) if len(sys.argv) > 1 else 0
unread = b""
while True:
    timeout_s = max(0.0, ping_at - time.monotonic()) if pause_s else None
    sources = [commands] if listener is None else [commands, listener]
    ready, _, _ = select.select(sources, [], [], timeout_s)
    if commands in ready:
        data = os.read(commands, 65536)
        if not data:
            break
        *lines, unread = (unread + data).split(b"\n")
        for line in lines:
            obey(line.decode())
    elif listener is not None and listener in ready:
        listener.accept()[0].close()
    if pause_s and time.monotonic() >= ping_at:
        say("WATCHDOG=1")
        ping_at += pause_s
