"""Says "orphan PID": a grandchild whose parent has ended. It ends when told so on stdin."""

import os

reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.close(writer)
        print(f"orphan {os.getpid()}", flush=True)
        os.read(reader, 1)
        os._exit(0)
    os._exit(0)
os.wait()
os.read(0, 1)
os.write(writer, b"x")
os.read(0, 1)
