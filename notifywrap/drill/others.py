"""Attempts on other processes: the wrapper, systemd, neighbours in the same service, and others.

Nobody is sent a signal other than 0, which does nothing; no memory is changed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket

from notifywrap.drill.attempt import Attempt, Context, denied
from notifywrap.drill.syscalls import call, libc, system_call

__all__ = ["ATTEMPTS"]

_PTRACE_SEIZE = 0x4206  # ptrace(2): attaches without stopping; our end detaches
_PRIVATE_BUS = "/run/systemd/private"
_SYSTEM_BUS = "/run/dbus/system_bus_socket"
_NO_ADDRESS = (errno.EFAULT,)  # asked after the permission
# A datagram socket for a stream's address: the kernel looks at the permission first, and nobody is
# connected to, so that no service is started by it.
_WRONG_TYPE = (errno.EPROTOTYPE,)
_NO_FD = (errno.EBADF,)


def _see_others(context: Context) -> None:
    ours = {context.main_pid, context.neighbour_pid, os.getpid()}
    others = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    if not set(others) - ours:
        raise denied(errno.ENOENT)


def _signal_init(context: Context) -> None:
    if context.main_pid == 1:
        raise denied(errno.ESRCH)  # PrivatePIDs=: there it is our own
    os.kill(1, 0)


def _wrapper(context: Context) -> int:
    """Its pid. A unit without notifywrap has none, and nothing to be had from it."""
    if not context.is_wrapped:
        raise denied(errno.ENOENT)
    return context.main_pid


def _open_memory(context: Context) -> None:
    os.close(os.open(f"/proc/{_wrapper(context)}/mem", os.O_RDWR | os.O_CLOEXEC))


def _read_wrapper_environment(context: Context) -> None:
    with open(f"/proc/{_wrapper(context)}/environ", "rb", buffering=0) as file:
        if not file.read(1):
            raise denied(errno.EACCES)


def _take_descriptor(context: Context) -> None:
    pid_fd = os.pidfd_open(_wrapper(context))
    try:
        system_call("pidfd_getfd", pid_fd, -1, 0)
    finally:
        os.close(pid_fd)


def _attach(pid: int) -> None:
    call(libc.ptrace, _PTRACE_SEIZE, pid, None, None)


def _copy_memory(name: str, pid: int) -> None:
    # A byte of ours, and address 8 of theirs, where there is nothing to be read or written
    byte = ctypes.create_string_buffer(1)
    vector = ctypes.c_void_p * 2
    ours, theirs = vector(ctypes.addressof(byte), 1), vector(8, 1)
    system_call(name, pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)


def _fake_ready(context: Context) -> None:
    if not context.notify_socket:
        raise denied(errno.ENOENT)
    address = context.notify_socket
    address = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.settimeout(2.0)
        one.sendto(b"X_NOTIFYWRAP_DRILL=1\n", address)  # a variable that means nothing to systemd


def _reach(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.connect(path)


def _reach_any(context: Context) -> None:
    """Raises the last refusal that is not plain absence, when none can be reached."""
    refusal = denied(errno.ENOENT)
    for path in context.sockets:
        try:
            _reach(path)
        except OSError as error:
            if error.errno in _WRONG_TYPE:
                return
            refusal = error if error.errno != errno.ENOENT else refusal
        else:
            return
    raise refusal


def _set_priority(_: Context) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, -10)


def _set_scheduler(_: Context) -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


ATTEMPTS = (
    Attempt("see other processes", "looks in /proc for processes not of this service", _see_others),
    Attempt(
        "ptrace attach",
        "attaches to another process of the service without stopping it, and ends",
        lambda context: _attach(context.neighbour_pid),
    ),
    Attempt("rw wrapper memory", "opens /proc/PID/mem of notifywrap for writing", _open_memory),
    Attempt(
        "fake READY to notify socket",
        "sends systemd a datagram with a variable that it ignores (READY=1 would go the same way; "
        "NotifyAccess= decides what systemd makes of it)",
        _fake_ready,
    ),
    Attempt(
        "connect PID1 private bus",
        "connects to /run/systemd/private with the wrong type: EPROTOTYPE means it was permitted",
        lambda _: _reach(_PRIVATE_BUS),
        _WRONG_TYPE,
    ),
    Attempt("signal PID 1", "sends it signal 0", _signal_init),
    Attempt("setpriority -10", "gives itself priority", _set_priority),
    Attempt("SCHED_FIFO", "makes itself a real-time process, and ends", _set_scheduler),
    # More
    Attempt(
        "read the wrapper's environment",
        "opens /proc/PID/environ of notifywrap and reads a byte",
        _read_wrapper_environment,
    ),
    Attempt(
        "process_vm_readv on the wrapper",
        "reads where there is nothing: EFAULT means it was permitted",
        lambda context: _copy_memory("process_vm_readv", _wrapper(context)),
        _NO_ADDRESS,
    ),
    Attempt(
        "process_vm_writev on the wrapper",
        "writes where there is nothing: EFAULT means it was permitted",
        lambda context: _copy_memory("process_vm_writev", _wrapper(context)),
        _NO_ADDRESS,
    ),
    Attempt(
        "ptrace the wrapper",
        "attaches to notifywrap without stopping it, and ends",
        lambda context: _attach(_wrapper(context)),
    ),
    Attempt(
        "take a descriptor of the wrapper",
        "pidfd_getfd(2) of one that is not there: EBADF means it was permitted",
        _take_descriptor,
        _NO_FD,
    ),
    Attempt("signal the wrapper", "sends it signal 0", lambda c: os.kill(_wrapper(c), 0)),
    Attempt(
        "signal another process of the user",
        "sends signal 0 to another process of the service",
        lambda context: os.kill(context.neighbour_pid, 0),
    ),
    Attempt(
        "connect the system bus",
        "D-Bus, with the wrong type: EPROTOTYPE means it was permitted",
        lambda _: _reach(_SYSTEM_BUS),
        _WRONG_TYPE,
    ),
    Attempt(
        "connect other services' sockets",
        "each socket below /run, with the wrong type, so that nobody is started by it",
        _reach_any,
    ),
)
