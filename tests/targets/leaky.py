"""Takes more and more at SIGUSR1: `leaky.py memory` 100 MiB, `leaky.py descriptors` 90 of them."""

import os
import signal
import sys

held: list[object] = []


def take(*_: object) -> None:
    if sys.argv[1] == "memory":
        held.append(bytearray(100 << 20))
    else:
        held.extend(os.dup(0) for _ in range(90))


signal.signal(signal.SIGUSR1, take)
print("ready", flush=True)
while True:
    signal.pause()
