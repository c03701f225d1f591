"""Says "ready", then the number of every signal it gets, as the kernel delivers them.

With arguments it leaves those signals alone: they do what they do by default.
"""

import os
import signal
import sys

reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer)
ours = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, *map(int, sys.argv[1:])}
for signum in ours:
    signal.signal(signum, lambda *_: None)
print("ready", flush=True)
while True:
    for number in os.read(reader, 4096):
        print(number, flush=True)
