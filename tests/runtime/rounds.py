"""Makes attempts as the supervisor does, and says how many blocks of memory are in use after it.

usage: python3 -I -S rounds.py ROOT KIND ROUNDS...

KIND is that of a live round (listen, tcp, http, unix, alive), or "look": while nobody listens yet.
A line after each of these numbers of rounds, counted from the start.
"""

import sys

sys.path.insert(0, sys.argv[1])

import gc
import time

from notifywrap.lean import os, socket
from notifywrap.policy import probe as kinds
from notifywrap.policy.events import Again, OpenAttempt, Outcome, Sample, Sampled, Timer
from notifywrap.policy.machine import Machine
from notifywrap.policy.spec import Spec
from notifywrap.probes.target import Target
from notifywrap.runtime.attempts import Attempts
from notifywrap.runtime.loop import Loop

kind, counts = sys.argv[2], [int(word) for word in sys.argv[3:]]


def serve(listener):
    while True:
        fd, _ = listener._accept()
        client = socket.socket(fileno=fd)
        if client.recv(65536):
            client.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        client.close()


def start():
    """(pid of a server, the probe that asks it)"""
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(b"" if kind == "unix" else ("127.0.0.1", 0))
    name = listener.getsockname()
    listener.listen(64)
    probe = {
        "alive": kinds.AliveProbe,
        "http": lambda: kinds.HttpProbe("x", "h", "/", (name,)),
        "listen": lambda: kinds.ListenProbe("x", port=name[1]),
        "look": lambda: kinds.HttpProbe("x", "h", "/", (name,)),
        "tcp": lambda: kinds.TcpProbe("x", (name,)),
        "unix": lambda: kinds.UnixProbe("x", "@" + name[1:].decode()),
    }[kind]()
    pid = os.fork()
    if pid == 0:
        serve(listener)
    listener.close()
    return pid, probe


pid, probe = start()
loop, events = Loop(), []
attempts = Attempts(loop, Target(pid), events.append)


def turn():
    late_s = loop.wait(attempts.next_deadline())
    attempts.wake(time.monotonic(), late_s)


def live_rounds(count):
    """Rounds of a machine that is ready, without a pause between them, until there were *count*."""
    global now
    while machine.attempts < count * len(machine.health.probes):
        now = max(now, machine.next_deadline())
        actions = machine.handle(Timer(), now)
        while actions or attempts._running:
            for action in actions:
                if type(action) is OpenAttempt:
                    attempts.open(action, time.monotonic())
            actions = []
            if attempts._running and not events:
                turn()
            while events:
                event = events.pop(0)
                assert event.sample.outcome is Outcome.PASSED, event
                actions += machine.handle(event, now)


def looks(count):
    global looked
    while looked < count:
        turn()
        looked += 1
    assert events == []


now, looked = time.monotonic(), 0
if kind == "look":
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    attempts.open(OpenAttempt(1, probe, 5.0), now)
    pace = kinds.Pace(0.0, 0.0002, 0.0002)
    again = Again(pace, now, events.pop().sample.reason, 3600.0)
    attempts.open(OpenAttempt(2, probe, 5.0, again), now)
    work = looks
else:
    machine = Machine(Spec(("x",), (kinds.AliveProbe(),), (probe,), 60.0, 1.0, 5.0), now)
    machine.start(now)
    machine.handle(Sampled(1, Sample(Outcome.PASSED)), now)
    work = live_rounds
for count in counts:
    work(count)
    gc.collect()
    print(sys.getallocatedblocks(), flush=True)
if kind != "look":
    os.kill(pid, 9)
