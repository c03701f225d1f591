"""The system call filter, run by a BPF machine of thirty lines: every call, every argument."""

from __future__ import annotations

import errno

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifywrap.policy.jailspec import Jail
from notifywrap.policy.syscallfilter import MACHINES, Instruction, Machine, build_filter

RULES = ("exec", "nofork", "nounix", "nomemfd", "nosignal", "read", "write", "bind", "connect")
ANY_RULES = st.sets(st.sampled_from(RULES))
THREAD = 0x3D0F00  # what pthread_create(3) asks clone(2) for
FORK = 0x1200011
U64 = st.integers(0, 2**64 - 1)
MANY = st.sampled_from([0, 1, 2, 3, 5, 43, 132, 256, 262, THREAD, FORK, 0x20000000]) | U64


def run(program: list[Instruction], arch: int, call: int, *arguments: int) -> int:
    """0 when it lets the call pass, else the errno. Source: Documentation/networking/filter.rst."""
    data = {0: call, 4: arch}
    for index, value in enumerate((*arguments, 0, 0, 0, 0, 0, 0)[:6]):
        data[16 + 8 * index] = value & 0xFFFFFFFF
        data[20 + 8 * index] = value >> 32
    at, a = 0, 0
    while True:
        code, jump_true, jump_false, k = program[at]
        at += 1
        if code == 0x20:
            a = data[k]
        elif code == 0x54:
            a &= k
        elif code == 0x06:
            assert k & 0x7FFF0000 in (0x7FFF0000, 0x00050000), "allow or errno, never a kill"
            return 0 if k == 0x7FFF0000 else k & 0xFFFF
        else:
            is_so = {0x15: a == k, 0x35: a >= k, 0x45: bool(a & k)}[code]
            at += jump_true if is_so else jump_false


def denied(rules: str, machine: Machine, call: str, *arguments: int) -> int:
    program = build_filter(Jail(frozenset(rules.split())), machine)
    return run(program, machine.audit, machine.numbers[call], *arguments)


each_machine = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)


@each_machine
def test_threads_start_and_processes_do_not(machine: Machine):
    """What LimitNPROC=1 was meant to be; nobody can run Go or Java without threads."""
    assert denied("nofork", machine, "clone", THREAD) == 0
    assert denied("nofork", machine, "clone", FORK) == errno.EPERM
    assert denied("nofork", machine, "clone", 0x4111) == errno.EPERM, "posix_spawn(3), vfork"
    assert denied("nofork", machine, "clone", THREAD << 32) == errno.EPERM, "not a flag up there"
    assert denied("nofork", machine, "clone3") == errno.ENOSYS, "libc falls back at nothing else"


def test_old_ways_to_fork_are_closed_too():
    """x86_64 still has both calls."""
    assert denied("nofork", MACHINES["x86_64"], "fork") == errno.EPERM
    assert denied("nofork", MACHINES["x86_64"], "vfork") == errno.EPERM


@each_machine
def test_unix_sockets_are_denied_but_for_pairs_that_reach_nobody(machine: Machine):
    """asyncio wakes itself up with a stream pair; a datagram pair can send to NOTIFY_SOCKET."""
    assert denied("nounix", machine, "socket", 1, 1) == errno.EAFNOSUPPORT
    assert denied("nounix", machine, "socket", 2, 1) == 0
    for kind in (1, 5):
        assert denied("nounix", machine, "socketpair", 1, kind | 0o2004000) == 0, "with CLOEXEC"
    for kind in (2, 3):  # the kernel takes SOCK_RAW for SOCK_DGRAM
        assert denied("nounix", machine, "socketpair", 1, kind | 0o2000000) == errno.EAFNOSUPPORT
    assert denied("nounix", machine, "io_uring_setup", 8) == errno.EPERM


@each_machine
@pytest.mark.parametrize("rule", ["bind", "connect"])
def test_tcp_cannot_be_had_under_another_name(machine: Machine, rule: str):
    """Landlock's rules for ports are about plain TCP sockets: MPTCP went past them (tried)."""
    assert denied(rule, machine, "socket", 2, 1, 6) == 0
    assert denied(rule, machine, "socket", 2, 1, 0) == 0
    assert denied(rule, machine, "socket", 1, 1, 0) == 0, "nounix is another rule"
    for protocol in (262, 256, 132):
        assert denied(rule, machine, "socket", 10, 1, protocol) == errno.EPROTONOSUPPORT
    assert denied(rule, machine, "socket", 43, 1) == errno.EAFNOSUPPORT
    for family in (2, 10):  # a sequence of packets over IP is SCTP, named or not
        kind = 5 | 0o2004000
        assert denied(rule, machine, "socket", family, kind, 0) == errno.ESOCKTNOSUPPORT
    assert denied(rule, machine, "socket", 1, 5, 0) == 0, "what AF_UNIX calls so is another thing"
    assert denied(rule, machine, "socket", 2, 2, 0) == 0, "UDP, documented"
    assert denied(rule, machine, "io_uring_setup", 8) == errno.EPERM


@each_machine
def test_fast_open_does_not_connect_past_connect(machine: Machine):
    """sendto(2) with MSG_FASTOPEN connects, and Landlock is not asked (tried)."""
    assert denied("connect", machine, "sendto", 3, 0, 0, 0x20000000) == errno.EPERM
    assert denied("connect", machine, "sendto", 3, 0, 0, 0x4000) == 0
    assert denied("connect", machine, "sendmsg", 3, 0, 0x20004000) == errno.EPERM
    assert denied("connect", machine, "sendmmsg", 3, 0, 1, 0x20000000) == errno.EPERM
    assert denied("bind nounix", machine, "sendto", 3, 0, 0, 0x20000000) == 0


@each_machine
def test_memfd_is_denied_by_its_own_rule(machine: Machine):
    """exec alone does not cover it: Landlock does not see files without a path."""
    assert denied("nomemfd", machine, "memfd_create") == errno.EPERM
    assert denied("nofork", machine, "memfd_create") == 0


@each_machine
@given(rules=ANY_RULES, arch=st.integers(0, 2**32 - 1), call=st.integers(0, 2**32 - 1))
@example(rules={"nofork"}, arch=0x40000003, call=2)  # int 0x80: fork has number 2 there
@example(rules={"nofork"}, arch=0xC000003E, call=0x40000000 | 57)  # x32's fork
@example(rules={"nofork"}, arch=0xC000003E, call=0xFFFFFFFF)
def test_other_abis_have_no_calls(machine: Machine, rules: set[str], arch: int, call: int):
    """Their numbers mean other things: fork would pass as write, or the like."""
    program = build_filter(Jail(frozenset(rules)), machine)
    if program and (arch != machine.audit or (machine.elf == 62 and call >= 0x40000000)):
        assert run(program, arch, call) == errno.ENOSYS


@each_machine
@given(rules=ANY_RULES, call=st.integers(0, 500), arguments=st.lists(MANY, max_size=6))
def test_no_rule_touches_calls_that_are_not_its_own(
    machine: Machine, rules: set[str], call: int, arguments: list[int]
):
    """read, futex, mmap: whatever the arguments, the target notices nothing."""
    program = build_filter(Jail(frozenset(rules)), machine)
    if program and call not in machine.numbers.values():
        assert run(program, machine.audit, call, *arguments) == 0


@each_machine
@given(one=ANY_RULES, more=ANY_RULES, name=st.integers(0, 20), arguments=st.lists(MANY, max_size=4))
def test_another_rule_never_opens_what_one_has_closed(
    machine: Machine, one: set[str], more: set[str], name: int, arguments: list[int]
):
    """Two rules may be about the same call (nounix and connect: socket)."""
    call = sorted(machine.numbers.values())[name % len(machine.numbers)]

    def result(rules: set[str]) -> int:
        program = build_filter(Jail(frozenset(rules)), machine)
        return run(program, machine.audit, call, *arguments) if program else 0

    assert not result(one) or result(one | more)


@each_machine
@given(rules=ANY_RULES)
def test_the_filter_is_small_and_there_only_for_rules_that_need_it(
    machine: Machine, rules: set[str]
):
    """Each instruction is run at every system call that the kernel cannot decide beforehand."""
    program = build_filter(Jail(frozenset(rules)), machine)
    assert bool(program) is bool(rules & {"nofork", "nounix", "nomemfd", "bind", "connect"})
    assert len(program) <= 70
