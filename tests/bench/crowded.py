"""Makes attempts on a crowded machine, or at a large target, and says what they cost.

usage: unshare -n python3 -I -S crowded.py ROOT sockets|tree|fds NUMBER REPEATS

In a network of its own, so that nobody else's sockets count and none is left behind. Prints JSON:
what was tried -> CPU of each attempt in microseconds, the kernel's part included.
"""

import sys

sys.path.insert(0, sys.argv[1])

import fcntl
import json
import os
import resource
import signal
import socket
import struct
import time

from notifywrap.policy.events import Outcome
from notifywrap.policy.probe import ListenProbe, TcpProbe
from notifywrap.probes.once import run_once
from notifywrap.probes.procnet import ProcNet
from notifywrap.probes.sockdiag import SockDiag
from notifywrap.probes.target import Target

SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # netdevice(7)
PORT = 8080
PAIRS_EACH = 4000  # of one holder, whose table of descriptors has to hold both ends
LIMIT_S = 60.0


def bring_up_loopback():
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))


def fork(work):
    """A child that does this and then waits; returns its pid when it has done it."""
    done, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(done)
        try:
            work()
            os.write(tell, b"1")
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    assert os.read(done, 1), "it could not be set up"
    os.close(done)
    return pid


def hold(pairs):
    """So many connections, both ends of each."""
    server = socket.create_server(("127.0.0.1", 0))
    kept = [server]
    for _ in range(pairs):
        kept += [socket.create_connection(server.getsockname()), server.accept()[0]]
    globals()["kept"] = kept


def crowd(sockets):
    pairs = sockets // 2
    return [
        fork(lambda first=first: hold(min(PAIRS_EACH, pairs - first)))
        for first in range(0, pairs, PAIRS_EACH)
    ]


def serve(listener):
    """Forked by hand: it accepts for as long as it lives."""
    pid = os.fork()
    if pid:
        return pid
    while True:
        listener.accept()[0].close()


def attempt_us(probe, target):
    before = time.process_time_ns()
    sample = run_once(probe, target, LIMIT_S)
    spent = time.process_time_ns() - before
    assert sample.outcome is Outcome.PASSED, sample
    return spent / 1e3


def try_sockets(number, repeats):
    holders = crowd(number)
    listener = socket.create_server(("127.0.0.1", PORT))
    server = serve(listener)
    listener.close()
    found = {}
    for way, made in (("sock_diag", SockDiag), ("/proc/net/tcp", ProcNet)):
        count = repeats if made is SockDiag else max(3, repeats // 20)  # it is rationed
        for name, probe in (
            ("listen", ListenProbe("x", port=PORT)),
            ("tcp", TcpProbe("x", (("127.0.0.1", PORT),))),
        ):
            target = Target(server, sockets=made())
            attempt_us(probe, target)  # finds out whose socket it is
            found[f"{name}, {way}"] = [attempt_us(probe, target) for _ in range(count)]
            target.close()
    return found, [*holders, server]


def try_target(number, repeats, *, is_tree):
    """The last process of the tree, or the last descriptor, is the one that listens."""

    def work():
        if is_tree:
            for _ in range(number - 2):
                if os.fork() == 0:
                    signal.pause()
            if number > 1:
                fork(lambda: globals().update(kept=socket.create_server(("127.0.0.1", PORT))))
                return
        else:
            globals()["fds"] = [os.open("/dev/null", os.O_RDONLY) for _ in range(number - 1)]
        globals()["kept"] = socket.create_server(("127.0.0.1", PORT))

    pid = fork(work)
    probe = ListenProbe("x", port=PORT)
    first = []
    for _ in range(max(3, repeats // 20)):
        target = Target(pid, sockets=SockDiag())
        first.append(attempt_us(probe, target))
        target.close()
    target = Target(pid, sockets=SockDiag())
    attempt_us(probe, target)
    return {"first": first, "later": [attempt_us(probe, target) for _ in range(repeats)]}, [pid]


def end_all(pids):
    """The children of these, too: they have no others."""
    for pid in pids:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = file.read().split()
        for one in (pid, *map(int, children)):
            os.kill(one, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


what, number, repeats = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
bring_up_loopback()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 12_000), hard))
if what == "sockets":
    found, children = try_sockets(number, repeats)
else:
    found, children = try_target(number, repeats, is_tree=what == "tree")
end_all(children)
print(json.dumps(found), flush=True)
