"""python -m courier INBOX OUTBOX"""

import signal
import sys
import threading
from pathlib import Path

from courier import serve

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
serve(Path(sys.argv[1]), Path(sys.argv[2]), stop)
