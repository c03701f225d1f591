"""A server with a fault that can be switched on: SIGUSR1 begins it, SIGUSR2 ends it.

    server.py [OPTION...] ADDRESS...        PORT, HOST:PORT, [V6]:PORT, /path or @abstract

Runs under `python3 -I -S` and says on stdout what it does, with the moment on CLOCK_MONOTONIC.
"""

import argparse
import faulthandler
import os
import selectors
import signal
import socket
import sys
import time

FAULTS = {
    "deaf": "accepts no more, and lives on",
    "mute": "accepts, and never answers",
    "sick": "answers 500",
    "closed": "closes its sockets, and opens them again",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("addresses", nargs="+")
    parser.add_argument("--after", type=float, default=0.0, help="seconds until it listens")
    parser.add_argument("--between", type=float, default=0.0, help="from one address to the next")
    parser.add_argument("--speaks", choices=("echo", "http", "close"), default="echo")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds to each http answer")
    parser.add_argument("--stutter", type=float, default=0.0, help="longer at every 5th answer")
    parser.add_argument("--fault", choices=FAULTS, default="deaf")
    parser.add_argument("--defer", action="store_true", help="TCP_DEFER_ACCEPT")
    parser.add_argument("--workers", type=int, default=0, help="forks, with SO_REUSEPORT")
    parser.add_argument("--trace", action="store_true", help="prints where it was at SIGABRT")
    parser.add_argument("--slow-trace", action="store_true", help="in two lines, at SIGABRT")
    parser.add_argument("--ignore-abort", action="store_true", help="SIGABRT does nothing")
    parser.add_argument("--stubborn", action="store_true", help="lives on without its address")
    parser.add_argument("--reload", type=float, help="closed for so long at SIGHUP")
    parser.add_argument("--sick-reload", type=float, help="answers 500 for so long at SIGHUP")
    options = parser.parse_args()
    if options.trace:
        faulthandler.enable()
    if options.slow_trace:
        signal.signal(signal.SIGABRT, trace_slowly)
    if options.ignore_abort:
        signal.signal(signal.SIGABRT, signal.SIG_IGN)
    pause(options.after)
    if options.workers and all(os.fork() for _ in range(options.workers)):
        os.wait()
    else:
        Server(options).serve()


def trace_slowly(signum: int, frame: object) -> None:
    """As many do it: the next one ends it at once."""
    signal.signal(signum, signal.SIG_DFL)
    say("trace begins")
    pause(0.005)
    say("trace ends")
    os.kill(os.getpid(), signum)


class Server:
    """One process: everything in one loop, so that a fault in it is a fault of all."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.fault = ""
        self.selector = selectors.EpollSelector()  # may be changed by a handler while it waits
        self.listeners: list[socket.socket] = []
        self.answers = 0
        self.kept: list[socket.socket] = []
        signal.signal(signal.SIGUSR1, self.begin_fault)
        signal.signal(signal.SIGUSR2, self.end_fault)
        if options.reload is not None:
            signal.signal(signal.SIGHUP, self.reload)
        if options.sick_reload is not None:
            signal.signal(signal.SIGHUP, self.reload_sick)
            signal.signal(signal.SIGALRM, self.end_fault)
        self.open()

    def open(self) -> None:
        for number, address in enumerate(self.options.addresses):
            pause(self.options.between if number else 0.0)
            try:
                listener = bind(address, self.options)
            except OSError as error:
                if not self.options.stubborn:
                    raise
                say(f"cannot listen on {address}: {error}")
                continue
            self.listeners.append(listener)
            began = time.monotonic()  # not after it: somebody may have connected by then
            listener.listen()
            self.selector.register(listener, selectors.EVENT_READ)
            say(f"listening on {address}", began)

    def close(self) -> None:
        for listener in self.listeners:
            self.selector.unregister(listener)
            listener.close()
        self.listeners.clear()

    def begin_fault(self, *_: object) -> None:
        self.fault = self.options.fault
        if self.fault == "deaf":
            for listener in self.listeners:
                self.selector.unregister(listener)
        elif self.fault == "closed":
            self.close()
        say(f"{self.fault}: {FAULTS[self.fault]}")

    def end_fault(self, *_: object) -> None:
        if self.fault == "deaf":
            for listener in self.listeners:
                self.selector.register(listener, selectors.EVENT_READ)
        elif not self.listeners:
            self.open()
        self.fault = ""
        say("well again")

    def reload(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])  # one after the other
        say("reloading")
        self.close()
        pause(self.options.reload)
        self.open()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])

    def reload_sick(self, *_: object) -> None:
        say("reloading")
        self.fault = "sick"
        signal.setitimer(signal.ITIMER_REAL, self.options.sick_reload)

    def serve(self) -> None:
        while True:
            for key, _ in self.selector.select(0.1):
                if key.fileobj in self.listeners:
                    self.accept(key.fileobj)
                else:
                    self.answer(key.fileobj)

    def accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # a signal's handler has closed it meanwhile
        if self.options.speaks == "close":
            connection.close()
        else:
            self.selector.register(connection, selectors.EVENT_READ)

    def answer(self, connection: socket.socket) -> None:
        if self.fault == "mute":
            self.selector.unregister(connection)
            self.kept.append(connection)  # open, and nothing comes of it
            return
        try:
            received = connection.recv(65536)  # a request of the tests comes in one piece
            if received and self.options.speaks == "http":
                self.answers += 1
                pause(self.options.delay + (self.answers % 5 == 0) * self.options.stutter)
                received = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
                if self.fault == "sick":
                    received = received.replace(b"200 OK", b"500 Internal Server Error")
            if received:
                connection.sendall(received)
                return
        except ConnectionError:
            pass
        self.selector.unregister(connection)
        connection.close()


def bind(address: str, options: argparse.Namespace) -> socket.socket:
    if address[0] in "/@":
        if os.path.exists(address):
            os.unlink(address)  # left behind by an earlier life
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("\0" + address[1:] if address[0] == "@" else address)
    else:
        host, _, port = address.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in host:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if options.workers:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if options.defer:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
        listener.bind((host, int(port)))
    return listener


def pause(length_s: float) -> None:
    signal.sigtimedwait((), length_s)


def say(text: str, moment: float | None = None) -> None:
    sys.stdout.write(f"{text} at {moment or time.monotonic():.6f}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
