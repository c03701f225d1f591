"""A daemon that is one loop in one thread: it gives every file of a folder its SHA-256.

What is for systemd has a `notifywrap` in its line. Without systemd those lines do nothing.
"""

import hashlib
import os
import signal
import time
import tomllib
from pathlib import Path

import notifywrap

SETTINGS = Path(__file__).with_suffix(".toml")
FOLDER = Path(os.environ.get("STATE_DIRECTORY", "."))  # systemd sets it: StateDirectory=


def main() -> None:
    settings = read_settings()
    # Handlers only take notes, and the loop reads them. Set before READY=1: systemd may stop or
    # reload the service right after it.
    asked: set[int] = set()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, lambda signum, _: asked.add(signum))
    with notifywrap.watchdog() as watchdog:
        beat = watchdog.heartbeat("loop", within=settings["limit_s"])
        work()  # once before READY=1: a folder that cannot be read is a failed start
        notifywrap.ready(f"looks at {FOLDER.resolve()}")
        while not asked & {signal.SIGTERM, signal.SIGINT}:
            if signal.SIGHUP in asked:
                asked.discard(signal.SIGHUP)
                settings = reload(settings)
            work()
            beat()
            time.sleep(settings["pause_s"])
        notifywrap.stopping()


def work() -> None:
    """All that is new in the folder."""
    for path in FOLDER.glob("*.txt"):
        if path.name == "block for ever.txt" and "DEMONSTRATION" in os.environ:
            while True:  # as after a deadlock: the process is there, and nothing gets on
                time.sleep(1)
        path.with_suffix(".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
        path.unlink()


def read_settings() -> dict[str, float]:
    found = tomllib.loads(SETTINGS.read_text())
    return {"pause_s": float(found["pause_s"]), "limit_s": float(found["limit_s"])}


def reload(settings: dict[str, float]) -> dict[str, float]:
    """The settings as they are now; the old ones go on when the new ones are no good."""
    try:
        with notifywrap.reload():  # RELOADING=1 ... READY=1, and STATUS has what went wrong
            return read_settings()
    except (OSError, KeyError, ValueError) as error:
        print(f"cannot reload: {error!r}, going on as before", flush=True)
        return settings


if __name__ == "__main__":
    main()
