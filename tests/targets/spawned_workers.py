"""Workers that multiprocessing starts ("spawn" or "fork"): one beats, one is stuck, one ends. Says
who is late."""

import multiprocessing
import os
import signal
import sys
import time

sys.path.insert(0, sys.argv[2])
from notifywrap.daemon.workers import Workers


def work(workers, kind, joined, end):
    with workers.join(kind, within=1000.0 if kind == "good" else 0.001):
        joined.release()
        if kind == "crashed":
            os.kill(os.getpid(), signal.SIGKILL)
        end.wait()


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    workers, joined, end = Workers(), context.Semaphore(0), context.Event()
    for kind in ("good", "stuck", "crashed"):
        process = context.Process(target=work, args=(workers, kind, joined, end))
        process.start()
        joined.acquire()
        if kind == "crashed":
            process.join()
    time.sleep(0.002)
    print(workers.describe_late(time.monotonic()))
    end.set()
