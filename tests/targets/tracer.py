"""A debugger of the plainest kind: holds a process with ptrace(2) until it is told to let it go.

tracer.py PID        says "holding", lets go at SIGTERM
"""

import ctypes
import os
import signal
import sys

PTRACE_ATTACH, PTRACE_DETACH, WALL = 16, 17, 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
pid = int(sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
if libc.ptrace(PTRACE_ATTACH, pid, None, None) < 0:
    print(f"refused: {os.strerror(ctypes.get_errno())}", flush=True)
    sys.exit(1)
os.waitpid(pid, WALL)
print("holding", flush=True)
signal.sigwait([signal.SIGTERM])
libc.ptrace(PTRACE_DETACH, pid, None, None)
