"""Attempts to run something else: programs, scripts, processes, threads, new machine code.

An attempt that executes never returns when it works: the program it became exits with STATUS.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import mmap
import os
import signal
import struct
from functools import partial
from typing import NoReturn

from notifywrap.drill import dropped
from notifywrap.drill.attempt import Attempt, Context, denied
from notifywrap.drill.files import make_file, writable_directory
from notifywrap.drill.syscalls import call, libc, system_call

__all__ = ["ATTEMPTS"]

_CLONE_NEWUSER = 0x10000000  # linux/sched.h


def _run_dropped(directory: str, context: Context) -> NoReturn:
    path = make_file(context, directory, dropped.program(), 0o700)
    os.execv(path, [path])  # whoever started this process removes the file: nobody else is left


def _run_dropped_in_state(context: Context) -> NoReturn:
    _run_dropped(context.state, context)


def _run_memory(_: Context) -> NoReturn:
    fd = os.memfd_create("drill", os.MFD_CLOEXEC)
    os.write(fd, dropped.program())
    os.execve(fd, ["drill"], {})


def _run_mapped(_: Context) -> NoReturn:
    memory = mmap.mmap(-1, mmap.PAGESIZE)  # shared: such memory is a file to the kernel
    memory.write(dropped.program())
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    os.execve(f"/proc/self/map_files/{start:x}-{start + mmap.PAGESIZE:x}", ["drill"], {})


def _fork(_: Context) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _start_thread(_: Context) -> None:
    lock = _thread.allocate_lock()
    lock.acquire()
    try:
        _thread.start_new_thread(lock.release, ())
    except RuntimeError:  # Python keeps the errno to itself
        raise denied(errno.EAGAIN) from None
    lock.acquire()


def _run_shell(_: Context) -> NoReturn:
    os.execv("/bin/sh", ["sh", "-c", f"exit {dropped.STATUS}"])


def _run_python(context: Context) -> NoReturn:
    code = f"raise SystemExit({dropped.STATUS})"
    # By its path: that is how one that is not Debian's finds its library.
    os.execv(context.python, [context.python, "-ISc", code])


def _map_code(_: Context) -> None:
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def _make_executable(_: Context) -> None:
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        start = ctypes.c_char.from_buffer(memory)
        address = ctypes.c_void_p(ctypes.addressof(start))
        try:
            call(libc.mprotect, address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)
        finally:
            del start  # or the memory cannot be given back


def _map_dropped(context: Context) -> None:
    path = make_file(context, writable_directory(context), dropped.program(), 0o600)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()
        finally:
            os.close(fd)
    finally:
        os.unlink(path)


def _load_dropped(context: Context) -> NoReturn:
    path = make_file(context, writable_directory(context), context.shell, 0o600)
    loader = context.loader or "/lib64/ld-linux-x86-64.so.2"
    os.execv(loader, [loader, path, "-c", f"exit {dropped.STATUS}"])


def _interpret_dropped(context: Context) -> NoReturn:
    script = f"#!{context.python}\nraise SystemExit({dropped.STATUS})\n".encode()
    path = make_file(context, writable_directory(context), script, 0o700)
    os.execv(path, [path])


def _clone(_: Context) -> None:
    _wait_for(system_call("clone", signal.SIGCHLD, 0, 0, 0, 0))


def _clone3(flags: int) -> None:
    # struct clone_args, clone(2): the flags lie in memory, where no seccomp filter sees them
    arguments = struct.pack("=QQQQQQQQ", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    buffer = ctypes.create_string_buffer(arguments, 64)
    _wait_for(system_call("clone3", buffer, 64))


def _wait_for(pid: int) -> None:
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _drops(name: str, directory: str) -> Attempt:
    words = f"drops a program in {directory} and executes it"
    return Attempt(name, words, partial(_run_dropped, directory))


ATTEMPTS = (
    Attempt("mmap W+X", "maps memory that is writable and executable", _map_code),
    _drops("exec dropped file in /tmp", "/tmp"),
    _drops("exec dropped in /var/tmp", "/var/tmp"),
    _drops("exec dropped in /dev/shm", "/dev/shm"),
    Attempt(
        "exec dropped file in state dir",
        "drops a program in the state directory and executes it",
        _run_dropped_in_state,
    ),
    Attempt("exec memfd", "executes a program that lies in memory", _run_memory),
    Attempt("fork a process", "forks", _fork),
    Attempt("start a thread", "starts a thread", _start_thread),
    Attempt("exec /bin/sh", "executes the shell", _run_shell),
    Attempt("exec python", "executes the Python that notifywrap needs", _run_python),
    # More
    Attempt("make memory executable", "writes to memory, then makes it code", _make_executable),
    Attempt("map a dropped file as code", "maps a file of its own as code", _map_dropped),
    Attempt("ld.so on a dropped file", "has the loader run a program it dropped", _load_dropped),
    Attempt("exec a dropped script", "drops a script for Python, executes it", _interpret_dropped),
    Attempt(
        "exec memory through map_files",
        "writes a program to shared memory and executes it by its name in /proc/self/map_files",
        _run_mapped,
    ),
    Attempt("fork by clone", "the bare system call", _clone),
    Attempt("fork by clone3", "the bare system call", lambda _: _clone3(0)),
    Attempt(
        "user namespace by clone3",
        "a process in a user namespace of its own; the flag is one that no filter can see",
        lambda _: _clone3(_CLONE_NEWUSER),
    ),
)
