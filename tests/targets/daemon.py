"""Goes into the background as daemons do, and does there what it is told on stdin.

usage: daemon.py PIDFILE [stay]        stay: in the foreground, as gunicorn does

Says "daemon PID" when its pid file is written; the process that was started ends with 0 then.

    worker     starts a child that does nothing, and says "worker PID"
    heir       starts a successor beside it, which is told from now on; this one ends at QUIT
    write X    writes X into the pid file instead
    exit N     ends
"""

import os
import signal
import sys


def main() -> None:
    path, *how = sys.argv[1:]
    if how != ["stay"]:
        reader, writer = os.pipe()
        if os.fork():
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        os.setsid()
        become(path, "daemon")
        os.close(writer)
        os.close(reader)
    else:
        become(path, "daemon")
    while True:
        obey(path, line().split())


def obey(path: str, words: list[str]) -> None:
    if words[0] == "worker":
        if os.fork():
            return
        say(f"worker {os.getpid()}")
        while True:
            signal.pause()
    elif words[0] == "heir":
        if os.fork():
            signal.signal(signal.SIGQUIT, lambda *_: os._exit(0))
            while True:
                signal.pause()
        become(path, "heir")
    elif words[0] == "write":
        write(path, words[1])
        say("written")
    elif words[0] == "exit":
        os._exit(int(words[1]))


def become(path: str, name: str) -> None:
    write(path, str(os.getpid()))
    say(f"{name} {os.getpid()}")


def write(path: str, text: str) -> None:
    with open(f"{path}.new", "w") as file:
        file.write(f"{text}\n")
    os.rename(f"{path}.new", path)


def line() -> str:
    """The next line of stdin, and no byte more: the rest may be for somebody else."""
    text = b""
    while not text.endswith(b"\n"):
        byte = os.read(0, 1)
        while not byte:
            signal.pause()
        text += byte
    return text.decode()


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    main()
