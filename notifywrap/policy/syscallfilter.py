"""The system call filter of a jail, as a classic BPF program (seccomp(2)). Built by hand: it is a
few comparisons, and libseccomp would be a library to find and load in every service."""

from __future__ import annotations

from notifywrap.lean import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from notifywrap.policy.jailspec import Jail

__all__ = ["MACHINES", "Instruction", "Machine", "build_filter"]

# linux/seccomp.h, linux/bpf_common.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_AND, BPF_RET
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45  # BPF_JMP|BPF_JEQ, BPF_JGE, BPF_JSET
# struct seccomp_data; of an argument the low half: what is compared here are all ints and flags
_NUMBER, _ARCHITECTURE = 0, 4
_ARGUMENT = (16, 24, 32, 40)

_EPERM, _ENOSYS, _EPROTONOSUPPORT, _ESOCKTNOSUPPORT, _EAFNOSUPPORT = 1, 38, 93, 94, 97
_CLONE_THREAD = 0x00010000
_AF_UNIX, _AF_INET, _AF_INET6, _AF_SMC = 1, 2, 10, 43
_SOCK_STREAM, _SOCK_SEQPACKET, _SOCK_TYPE_MASK = 1, 5, 0xF
_STREAMS_BUT_TCP = (262, 256, 132)  # IPPROTO_MPTCP, IPPROTO_SMC, IPPROTO_SCTP
_MSG_FASTOPEN = 0x20000000
_X32 = 0x40000000

Instruction = tuple[int, int, int, int]  # struct sock_filter: code, jt, jf, k


class Machine(NamedTuple):
    """An architecture whose system calls are known here.

    audit    its AUDIT_ARCH_... (linux/audit.h)
    elf      its EM_... (linux/elf-em.h)
    numbers  of its system calls (asm/unistd.h)
    """

    audit: int
    elf: int
    numbers: dict[str, int]


_EVERYWHERE = {"io_uring_setup": 425, "clone3": 435}
MACHINES = {
    "x86_64": Machine(
        0xC000003E,
        62,
        _EVERYWHERE
        | {"socket": 41, "sendto": 44, "sendmsg": 46, "socketpair": 53, "clone": 56, "fork": 57}
        | {"vfork": 58, "sendmmsg": 307, "memfd_create": 319},
    ),
    "aarch64": Machine(
        0xC00000B7,
        183,
        _EVERYWHERE
        | {"socket": 198, "socketpair": 199, "sendto": 206, "sendmsg": 211, "clone": 220}
        | {"sendmmsg": 269, "memfd_create": 279},
    ),
}


def build_filter(jail: Jail, machine: Machine) -> list[Instruction]:
    """The program that denies what *jail* denies by system call; [] when that is nothing."""
    blocks = _find_blocks(jail)
    if not blocks:
        return []
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, machine.audit),
        # Calls of another ABI (int 0x80) have other numbers: as on a kernel that lacks it.
        _deny(_ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine is MACHINES["x86_64"]:
        # x32 goes by the same architecture. -1, which tracers make of a call, has no call either.
        program += [(_IF_AT_LEAST, 0, 1, _X32), _deny(_ENOSYS)]
    for call, block in blocks.items():
        if call in machine.numbers:
            program += [(_IF_EQUAL, 0, len(block), machine.numbers[call]), *block]
    return [*program, _ALLOWED]


_ALLOWED: Instruction = (_RETURN, 0, 0, _ALLOW)


def _deny(errno: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | errno)


def _find_blocks(jail: Jail) -> dict[str, list[Instruction]]:
    """System call -> what decides about it. Every block ends by returning: what was loaded before
    is lost in it."""
    blocks: dict[str, list[Instruction]] = {}
    has_ports = "bind" in jail.rules or "connect" in jail.rules
    if "nofork" in jail.rules:
        blocks |= {
            "clone": [
                (_LOAD, 0, 0, _ARGUMENT[0]),
                (_IF_ANY_BIT, 0, 1, _CLONE_THREAD),
                _ALLOWED,
                _deny(_EPERM),
            ],
            # Its flags are in memory, where no filter can look. The C library falls back to clone
            # at ENOSYS, and at no other error.
            "clone3": [_deny(_ENOSYS)],
            "fork": [_deny(_EPERM)],
            "vfork": [_deny(_EPERM)],
        }
    if "nomemfd" in jail.rules:
        blocks["memfd_create"] = [_deny(_EPERM)]
    if "nounix" in jail.rules:
        blocks["socketpair"] = _connected_pairs()
    if "nounix" in jail.rules or has_ports:
        blocks["socket"] = _sockets(is_without_unix="nounix" in jail.rules, has_ports=has_ports)
        # It makes and connects sockets by itself. The error is that of kernel.io_uring_disabled.
        blocks["io_uring_setup"] = [_deny(_EPERM)]
    if "connect" in jail.rules:
        # TCP Fast Open connects without connect(2), and Landlock is not asked.
        for call, argument in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
            blocks[call] = [
                (_LOAD, 0, 0, _ARGUMENT[argument]),
                (_IF_ANY_BIT, 0, 1, _MSG_FASTOPEN),
                _deny(_EPERM),
                _ALLOWED,
            ]
    return blocks


def _sockets(*, is_without_unix: bool, has_ports: bool) -> list[Instruction]:
    block: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENT[0])]
    if is_without_unix:
        block += [(_IF_EQUAL, 0, 1, _AF_UNIX), _deny(_EAFNOSUPPORT)]
    if has_ports:
        # These reach TCP ports, too, and Landlock's rules are about plain TCP sockets alone.
        block += [(_IF_EQUAL, 0, 1, _AF_SMC), _deny(_EAFNOSUPPORT), (_LOAD, 0, 0, _ARGUMENT[2])]
        for protocol in _STREAMS_BUT_TCP:
            block += [(_IF_EQUAL, 0, 1, protocol), _deny(_EPROTONOSUPPORT)]
        block += [
            (_LOAD, 0, 0, _ARGUMENT[1]),
            (_AND, 0, 0, _SOCK_TYPE_MASK),
            (_IF_EQUAL, 0, 4, _SOCK_SEQPACKET),
            (_LOAD, 0, 0, _ARGUMENT[0]),
            (_IF_EQUAL, 1, 0, _AF_INET),
            (_IF_EQUAL, 0, 1, _AF_INET6),
            _deny(_ESOCKTNOSUPPORT),  # which is SCTP with protocol 0, too; as where there is none
        ]
    return [*block, _ALLOWED]


def _connected_pairs() -> list[Instruction]:
    """Runtimes wake themselves up through stream pairs, which reach nobody else. A datagram pair
    can be sent from to any address, such as NOTIFY_SOCKET (tried)."""
    return [
        (_LOAD, 0, 0, _ARGUMENT[0]),
        (_IF_EQUAL, 0, 5, _AF_UNIX),
        (_LOAD, 0, 0, _ARGUMENT[1]),
        (_AND, 0, 0, _SOCK_TYPE_MASK),
        (_IF_EQUAL, 2, 0, _SOCK_STREAM),
        (_IF_EQUAL, 1, 0, _SOCK_SEQPACKET),
        _deny(_EAFNOSUPPORT),
        _ALLOWED,
    ]
