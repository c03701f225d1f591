"""A daemon that uses the library: "threads" or "asyncio". At USR1 it hangs, in a way that neither
its port nor its process shows."""

import signal
import sys
import threading
import time

sys.path.insert(0, sys.argv[2])
import notifywrap


def threads() -> None:
    """A worker thread that stops getting on while the main thread lives on."""
    stuck = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: stuck.set())

    def work() -> None:
        beat = watchdog.heartbeat("worker", within=0.5)
        while not stuck.wait(0.05):
            beat()

    with notifywrap.watchdog() as watchdog:
        threading.Thread(target=work, daemon=True).start()
        notifywrap.ready("threads are at work")
        while True:
            signal.pause()


def loop() -> None:
    """A handler that blocks the event loop."""
    import asyncio

    from notifywrap import aio

    def block() -> None:
        time.sleep(1000)

    async def main() -> None:
        async with aio.watchdog(), aio.service(status="the loop turns") as service:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, block)
            await service.stopped()

    asyncio.run(main())


{"threads": threads, "asyncio": loop}[sys.argv[1]]()
