"""Tries what an intruder in a daemon would, as it is asked on stdin, and prints what came of it.

A line is an attempt and its arguments; the answer "ok" and what was had, or the errno's name. It
needs nothing that the jail takes away but to be read itself.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)


def call(*arguments: object) -> int:
    result = libc.syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def thread() -> str:
    said: list[str] = []
    one = threading.Thread(target=said.append, args=("ran",))
    one.start()
    one.join()
    return said[0]


def fork() -> None:
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def fork_by_other_number() -> None:
    """i386's fork, through int 0x80: `mov eax, 2; int 0x80; ret`."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x02\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    if result == 0:
        os._exit(0)
    if result < 0:
        raise OSError(-result, "")


def vfork_by_x32() -> None:
    if call(0x40000000 | 57) == 0:
        os._exit(0)


def unix_pair(kind: str) -> str:
    number = {"stream": socket.SOCK_STREAM, "datagram": socket.SOCK_DGRAM}[kind]
    one, other = socket.socketpair(socket.AF_UNIX, number)
    one.send(b"said")
    return other.recv(10).decode()


def bind(port: str) -> int:
    server = socket.create_server(("127.0.0.1", int(port)))
    return int(server.getsockname()[1])


def connect(port: str) -> None:
    socket.create_connection(("127.0.0.1", int(port))).close()


def connect_multipath(port: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as client:
        client.connect(("127.0.0.1", int(port)))


def connect_fast(port: str) -> None:
    with socket.socket() as client:
        client.sendto(b"x", 0x20000000, ("127.0.0.1", int(port)))


def listen_unbound() -> int:
    with socket.socket() as server:
        server.listen()
        return int(server.getsockname()[1])


def say_by_udp(port: str) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", int(port)))


def read(path: str) -> int:
    with open(path, "rb") as file:
        return len(file.read(10))


def listdir(path: str) -> int:
    return len(os.listdir(path))


def write(path: str) -> None:
    with open(path, "wb") as file:
        file.write(b"x")


def ioctl(path: str) -> None:
    """TCGETS: ENOTTY of a device that is no terminal, unless nobody asks the device."""
    with open(path, "rb", buffering=0) as file:
        fcntl.ioctl(file, 0x5401, bytes(60))


def find_own(name: str) -> int:
    """Wait for a process of this user with this name."""
    while True:
        for each in filter(str.isdigit, os.listdir("/proc")):
            try:
                is_own = os.stat(f"/proc/{each}").st_uid == os.getuid()
                with open(f"/proc/{each}/comm") as file:
                    if is_own and file.read() == f"{name}\n":
                        return int(each)
            except OSError:
                pass  # it has ended meanwhile


def take_over(name: str) -> None:
    """All ways must be open, or there is nothing new to be had by one of them."""
    pid = str(find_own(name))
    errors = []
    for way in (open_memory, take_descriptor, trace):
        try:
            way(pid)
        except OSError as error:
            errors.append(error)
    if len(errors) == 3:
        raise errors[0]


def open_memory(pid: str) -> None:
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))


def take_descriptor(pid: str) -> None:
    fd = os.pidfd_open(int(pid))
    os.close(call(438, fd, 0, 0))
    os.close(fd)


def trace(pid: str) -> None:
    if libc.ptrace(ctypes.c_long(0x4206), int(pid), None, None) < 0:  # PTRACE_SEIZE
        raise OSError(ctypes.get_errno(), "")
    libc.ptrace(ctypes.c_long(17), int(pid), None, None)  # PTRACE_DETACH, if it were stopped


def run_memfd() -> None:
    fd = os.memfd_create("x")
    with open("/bin/true", "rb") as file:
        os.write(fd, file.read())
    os.execve(fd, ["x"], {})


ATTEMPTS = {
    "thread": thread,
    "fork": fork,
    "fork_by_other_number": fork_by_other_number,
    "vfork_by_x32": vfork_by_x32,
    "clone3": lambda: call(435, None, 0),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "subprocess": lambda: subprocess.run(["/bin/true"], check=True).returncode,
    "shell": lambda: os.system("true") >= 0 or call(435, None, 0),
    "exec": lambda path: os.execv(path, [path]),
    "run_memfd": run_memfd,
    "memfd": lambda: os.memfd_create("x"),
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "unix_pair": unix_pair,
    "io_uring": lambda: call(425, 8, ctypes.create_string_buffer(120)),
    "kill": lambda pid: os.kill(int(pid), 0),
    "bind": bind,
    "connect": connect,
    "connect_multipath": connect_multipath,
    "connect_fast": connect_fast,
    "say_by_udp": say_by_udp,
    "open_memory": open_memory,
    "take_descriptor": take_descriptor,
    "take_over": take_over,
    "trace": trace,
    "read": read,
    "list": listdir,
    "write": write,
    "listen_unbound": listen_unbound,
    "chmod": lambda path: os.chmod(path, 0o600),
    "touch": os.utime,
    "label": lambda path: os.setxattr(path, "user.x", b"x"),
    "ioctl": ioctl,
    "truncate": lambda path: os.truncate(path, 0),
    "remove": os.unlink,
    "mkdir": os.mkdir,
    "rename": os.rename,
    "say": lambda word: word,
    "stay": signal.pause,
}

print("ready", flush=True)
for line in sys.stdin:
    name, *words = line.split()
    try:
        print("ok", ATTEMPTS[name](*words), flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno or 0], flush=True)
