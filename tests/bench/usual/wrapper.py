#!/usr/bin/env python3
"""A wrapper as people write it: subprocess, urllib, sdnotify. usage: wrapper.py URL COMMAND..."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

import sdnotify


def is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return 200 <= response.status < 400
    except OSError:
        return False


def main() -> int:
    url, command = sys.argv[1], sys.argv[2:]
    notifier = sdnotify.SystemdNotifier()
    process = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while not is_healthy(url):
        if process.poll() is not None:
            return process.returncode
        time.sleep(0.1)
    notifier.notify("READY=1")
    pause_s = int(os.environ.get("WATCHDOG_USEC", "2000000")) / 1e6 / 2
    while True:
        try:
            return process.wait(timeout=pause_s)
        except subprocess.TimeoutExpired:
            if is_healthy(url):
                notifier.notify("WATCHDOG=1")


if __name__ == "__main__":
    sys.exit(main())
