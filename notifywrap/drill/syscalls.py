"""System calls that neither Python nor the C library offers, by number."""

from __future__ import annotations

import ctypes
import errno
import os

from notifywrap.runtime.program import find_machine

__all__ = ["MACHINE", "call", "libc", "system_call"]

libc = ctypes.CDLL(None, use_errno=True)


def _name_machine() -> str:
    """As uname(2) says it where no Personality= of the unit makes it say something else."""
    try:
        elf = find_machine("/proc/self/exe")
    except OSError:
        elf = 0
    names = {62: "x86_64", 183: "aarch64", 243: "riscv64", 258: "loongarch64"}  # linux/elf-em.h
    return names.get(elf, os.uname().machine)


MACHINE = _name_machine()

# asm/unistd_64.h, and asm-generic/unistd.h for the machines that came later.
_X86_64 = {
    "add_key": 248,
    "bpf": 321,
    "clone": 56,
    "clone3": 435,
    "exit_group": 231,
    "finit_module": 313,
    "getpid": 39,
    "io_destroy": 207,
    "io_setup": 206,
    "io_uring_enter": 426,
    "io_uring_setup": 425,
    "iopl": 172,
    "kexec_load": 246,
    "perf_event_open": 298,
    "pidfd_getfd": 438,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "reboot": 169,
    "settimeofday": 164,
    "userfaultfd": 323,
}
_GENERIC = {
    "add_key": 217,
    "bpf": 280,
    "clone": 220,
    "clone3": 435,
    "exit_group": 94,
    "finit_module": 273,
    "getpid": 172,
    "io_destroy": 1,
    "io_setup": 0,
    "io_uring_enter": 426,
    "io_uring_setup": 425,
    "kexec_load": 104,
    "perf_event_open": 241,
    "pidfd_getfd": 438,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "reboot": 142,
    "settimeofday": 170,
    "userfaultfd": 282,
}
_NUMBERS = {
    "x86_64": _X86_64,
    "aarch64": _GENERIC,
    "loongarch64": _GENERIC,
    "riscv64": _GENERIC,
}.get(MACHINE, {})


def system_call(name: str, *arguments: object, flag: int = 0) -> int:
    """Raises OSError when it fails; ENOSYS where we do not know its number.

    flag  added to the number: x86-64 has a second set of calls that way
    """
    if name not in _NUMBERS:
        raise OSError(errno.ENOSYS, f"{name}: no number known on {MACHINE}")
    return call(libc.syscall, _NUMBERS[name] + flag, *arguments)


def call(function: object, *arguments: object) -> int:
    """Call a function of the C library that says -1 and errno; integers are passed as long."""
    assert callable(function), "it is one of libc's"
    ctypes.set_errno(0)
    result = function(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
