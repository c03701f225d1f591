"""Says "ready" and ends as asked by a word on the command line, or on stdin if there is none.

"exit N", "kill N" (by the default action of that signal), or "on TERM exit N": when TERM comes.
"""

import os
import signal
import sys


def end(how: str, number: str) -> None:
    if how == "exit":
        os._exit(int(number))
    if int(number) not in (32, 33, signal.SIGKILL):
        signal.signal(int(number), signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [int(number)])
    os.kill(os.getpid(), int(number))


words = sys.argv[1:]
if words[:2] == ["on", "TERM"]:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print("ready", flush=True)
    signal.sigwait([signal.SIGTERM])
    end(words[2], words[3])
print("ready", flush=True)
end(*(words or sys.stdin.readline().split()))
