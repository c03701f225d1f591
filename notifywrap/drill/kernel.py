"""Attempts on the kernel: calls that a network service has no use for.

Where a call that succeeds would change the machine it is made to fail after the kernel has asked
for permission: then its errno tells.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct

from notifywrap.drill.attempt import Attempt, Context, denied
from notifywrap.drill.syscalls import MACHINE, call, libc, system_call
from notifywrap.drill.uring import open_socket

__all__ = ["ATTEMPTS"]

# linux/sched.h
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_SYSLOG_READ_ALL, _SYSLOG_SIZE = 3, 4096  # syslog(2)
_ADDR_NO_RANDOMIZE, _PERSONALITY_GET = 0x0040000, 0xFFFFFFFF  # personality(2)
_PROCESS_KEYRING = -2  # keyctl(2): a keyring that ends with the process
_USER_MODE_ONLY = 1  # userfaultfd(2)
_SQPOLL = 2  # io_uring_setup(2)
_X32 = 0x40000000  # asm/unistd.h, __X32_SYSCALL_BIT
_SYSV_PRIVATE, _SYSV_REMOVE = 0, 0  # shmget(2), shmctl(2)


def _read_kernel_log(_: Context) -> None:
    try:
        call(libc.klogctl, _SYSLOG_READ_ALL, ctypes.create_string_buffer(_SYSLOG_SIZE), 4096)
    except OSError as error:
        try:
            fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            raise error from None
        try:
            os.read(fd, 8192)
        except BlockingIOError:
            pass  # empty
        finally:
            os.close(fd)


def _mount(_: Context) -> None:
    # An option that no tmpfs has: looked at after the permission, and before anything is mounted.
    options = ctypes.c_char_p(b"notifywrap_drill=1")
    call(libc.mount, ctypes.c_char_p(b"none"), ctypes.c_char_p(b"/"), ctypes.c_char_p(b"tmpfs"), 0,
         options)  # fmt: skip


def _unshare(flags: int) -> None:
    call(libc.unshare, flags)


def _bpf(_: Context) -> None:
    # BPF_MAP_CREATE: an array of one entry, bpf(2)
    attributes = ctypes.create_string_buffer(struct.pack("=IIII", 2, 4, 4, 1), 16)
    os.close(system_call("bpf", 0, attributes, 16))


def _io_uring(flags: int) -> None:
    parameters = ctypes.create_string_buffer(struct.pack("=III", 0, 0, flags), 120)
    os.close(system_call("io_uring_setup", 1, parameters))


def _socket_by_io_uring(_: Context) -> None:
    os.close(open_socket(socket.AF_NETLINK))


def _old_aio(_: Context) -> None:
    handle = ctypes.c_ulong(0)
    system_call("io_setup", 1, ctypes.byref(handle))
    system_call("io_destroy", handle)


def _key(context: Context) -> None:
    name = ctypes.c_char_p(context.tag.encode())
    system_call("add_key", ctypes.c_char_p(b"user"), name, name, 1, _PROCESS_KEYRING)


def _userfaultfd(flags: int) -> None:
    os.close(system_call("userfaultfd", os.O_CLOEXEC | flags))


def _perf_event_open(_: Context) -> None:
    # Its own CPU time, without the kernel's: perf_event_open(2), PERF_TYPE_SOFTWARE and
    # PERF_COUNT_SW_TASK_CLOCK with exclude_kernel and exclude_hv, which every machine has
    attributes = struct.pack("=IIQQQQQIIQ", 1, 64, 1, 0, 0, 0, 0b1100001, 0, 0, 0)
    buffer = ctypes.create_string_buffer(attributes, 64)
    os.close(system_call("perf_event_open", buffer, 0, -1, -1, 0))


def _set_time(_: Context) -> None:
    # Neither a time nor a time zone: asks for the permission, and sets nothing. Not the C library's
    # settimeofday(), which would look at the time.
    system_call("settimeofday", None, None)


def _set_hostname(_: Context) -> None:
    call(libc.sethostname, ctypes.c_char_p(b"x" * 65), 65)  # one more than there may be


def _reboot(_: Context) -> None:
    system_call("reboot", 0, 0, 0, None)  # magic numbers that are none


def _become_root(_: Context) -> None:
    os.setuid(0)


def _setns_or_chroot(_: Context) -> None:
    try:
        os.chroot("/")
    except OSError as refusal:
        try:
            fd = os.open("/proc/self/ns/uts", os.O_RDONLY | os.O_CLOEXEC)
            call(libc.setns, fd, 0)
        except OSError:
            raise refusal from None


def _personality(_: Context) -> None:
    before = call(libc.personality, _PERSONALITY_GET)
    call(libc.personality, before ^ _ADDR_NO_RANDOMIZE)


def _load_module(_: Context) -> None:
    system_call("finit_module", -1, ctypes.c_char_p(b""), 0)


def _load_kernel(_: Context) -> None:
    # More segments than there may be, and flags that do not exist: none would mean "unload".
    system_call("kexec_load", 0, 1 << 16, None, 0x4000)


def _port_access(_: Context) -> None:
    system_call("iopl", 3)  # for this process alone, which makes no use of it


def _other_calls(_: Context) -> None:
    if MACHINE != "x86_64":
        raise denied(errno.ENOSYS)
    system_call("getpid", flag=_X32)


def _shared_memory(_: Context) -> None:
    segment = call(libc.shmget, _SYSV_PRIVATE, 4096, 0o600)
    call(libc.shmctl, segment, _SYSV_REMOVE, None)


ATTEMPTS = (
    Attempt("read kmsg", "reads the kernel's log, syslog(2) or /dev/kmsg", _read_kernel_log),
    Attempt(
        "mount tmpfs",
        "mounts a tmpfs on / with an option that does not exist: EINVAL means it was permitted",
        _mount,
        (errno.EINVAL,),
    ),
    Attempt(
        "unshare user", "makes a user namespace for itself", lambda _: _unshare(_CLONE_NEWUSER)
    ),
    Attempt(
        "unshare net+user",
        "makes a network and a user namespace for itself",
        lambda _: _unshare(_CLONE_NEWUSER | _CLONE_NEWNET),
    ),
    Attempt("bpf()", "makes a BPF map of one entry, closes it", _bpf),
    Attempt("io_uring", "sets up an io_uring, closes it", lambda _: _io_uring(0)),
    Attempt("keyctl", "adds a key to its own process's keyring", _key),
    Attempt(
        "userfaultfd",
        "makes a userfaultfd for faults of the kernel, closes it",
        lambda _: _userfaultfd(0),
    ),
    Attempt("perf_event_open", "opens a counter of its own CPU time, closes it", _perf_event_open),
    Attempt("settime", "sets neither time nor time zone: only the permission is asked", _set_time),
    Attempt(
        "sethostname",
        "sets a host name that is too long: EINVAL means it was permitted",
        _set_hostname,
        (errno.EINVAL,),
    ),
    Attempt(
        "reboot",
        "reboots with wrong magic numbers: EINVAL means it was permitted",
        _reboot,
        (errno.EINVAL,),
    ),
    Attempt("setuid(0)", "becomes root; who is root already has it", _become_root),
    Attempt(
        "setns/chroot",
        "changes its root directory to the one it has, or enters the namespace it is in",
        _setns_or_chroot,
    ),
    Attempt("personality", "turns off its own address randomisation", _personality),
    # More
    Attempt(
        "unshare mount", "makes a mount namespace for itself", lambda _: _unshare(_CLONE_NEWNS)
    ),
    Attempt(
        "io_uring with a kernel thread",
        "sets up an io_uring that the kernel polls, closes it",
        lambda _: _io_uring(_SQPOLL),
    ),
    Attempt(
        "socket AF_NETLINK by io_uring",
        "opens one by IORING_OP_SOCKET, where no filter of system calls sees it, and closes it",
        _socket_by_io_uring,
    ),
    Attempt(
        "userfaultfd for user mode",
        "makes the kind that Linux leaves to everybody, closes it",
        lambda _: _userfaultfd(_USER_MODE_ONLY),
    ),
    Attempt("old aio", "sets up io_submit(2)'s context, destroys it", _old_aio),
    Attempt(
        "load a kernel module",
        "loads one from no file: EBADF means it was permitted",
        _load_module,
        (errno.EBADF,),
    ),
    Attempt(
        "load another kernel",
        "kexec_load(2) with wrong flags: EINVAL means it was permitted",
        _load_kernel,
        (errno.EINVAL,),
    ),
    Attempt("access to I/O ports", "iopl(2) for itself, touches no port", _port_access),
    Attempt("x32 system calls", "calls getpid through x86-64's second set", _other_calls),
    Attempt("SysV shared memory", "makes a segment, removes it", _shared_memory),
)
