"""What each kernel can do of a jail, and that the rest is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifywrap.policy import jailplan as plan
from notifywrap.policy.jailplan import find_gaps, make_plan, rights_of
from notifywrap.policy.jailspec import Jail, parse_jail

ALL = "exec,nofork,nounix,nomemfd,nosignal,read=/a,write=/b,bind=80,connect=443"
RULES = ALL.replace("=/a", "").replace("=/b", "").replace("=80", "").replace("=443", "").split(",")


def jail_of(text: str) -> Jail:
    jail = parse_jail([text], "--jail")
    assert jail is not None
    return jail


@pytest.mark.parametrize(
    ("abi", "wanted"),
    [
        (0, ["exec, read, write, bind, connect, nosignal, taking over processes of this user that"
             " are in no jail, such as exec: probes (no Landlock)"]),
        (1, ["bind, connect (needs Linux 6.7)", "nosignal (needs Linux 6.12)",
             "truncating files by their path (needs Linux 6.2)",
             "ioctl(2) on devices (needs Linux 6.10)"]),
        (2, ["bind, connect (needs Linux 6.7)", "nosignal (needs Linux 6.12)",
             "truncating files by their path (needs Linux 6.2)",
             "ioctl(2) on devices (needs Linux 6.10)"]),
        (3, ["bind, connect (needs Linux 6.7)", "nosignal (needs Linux 6.12)",
             "ioctl(2) on devices (needs Linux 6.10)"]),
        (4, ["nosignal (needs Linux 6.12)", "ioctl(2) on devices (needs Linux 6.10)"]),
        (5, ["nosignal (needs Linux 6.12)"]),
        (6, []),
        (7, []),
        (99, []),
    ],
)  # fmt: skip
def test_each_kernel_says_what_it_cannot_do(abi: int, wanted: list[str]):
    """A sysadmin reads one line, and knows what to rely on."""
    assert find_gaps(jail_of(ALL), abi, why="no Landlock" if abi == 0 else "") == wanted


def test_a_machine_without_a_filter_says_so_for_what_needs_one():
    """On riscv64 exec still holds."""
    gaps = find_gaps(jail_of("default"), 7, can_filter=False)
    assert len(gaps) == 1
    assert gaps[0].startswith("nofork, nomemfd, nounix (")
    assert find_gaps(jail_of("bind=80"), 7, can_filter=False)[0].startswith("MPTCP")


@pytest.mark.parametrize("abi", range(8))
def test_bare_jail_needs_no_new_kernel(abi: int):
    """Debian 12 has Linux 6.1: what is on by default must hold there."""
    assert (find_gaps(jail_of("default"), abi) == []) is (abi >= 1)


@pytest.mark.parametrize("abi", range(9))
@given(rules=st.sets(st.sampled_from(RULES), min_size=1))
def test_nothing_is_asked_of_a_kernel_that_it_does_not_know(abi: int, rules: set[str]):
    """It would refuse the whole ruleset (EINVAL), and with it what it could do."""
    made = make_plan(Jail(frozenset(rules)), abi)
    known_fs = {0: 0, 1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
    assert made.handled_fs & ~known_fs.get(abi, (1 << 16) - 1) == 0
    assert made.handled_net == 0 or abi >= 4
    assert made.scoped == 0 or abi >= 6
    assert made.flags == 0 or abi >= 7
    assert made.root_rights & ~made.handled_fs == 0


@pytest.mark.parametrize("abi", range(1, 8))
@given(rules=st.sets(st.sampled_from(RULES), min_size=1))
def test_every_rule_is_enforced_or_named_as_a_gap(abi: int, rules: set[str]):
    """A rule that is neither would be a promise that nobody keeps."""
    made = make_plan(Jail(frozenset(rules)), abi)
    gaps = " ".join(find_gaps(Jail(frozenset(rules)), abi)).replace(",", " ").split()
    held = {
        "exec": made.handled_fs & ~made.root_rights & plan.EXECUTE,
        "read": made.handled_fs & plan.READ_FILE,
        "write": made.handled_fs & plan.WRITE_FILE,
        "bind": made.handled_net & plan.BIND_TCP,
        "connect": made.handled_net & plan.CONNECT_TCP,
        "nosignal": made.scoped & plan.SCOPE_SIGNAL,
    }
    for rule, is_held in held.items():
        assert bool(is_held) is (rule in rules and rule not in gaps), rule


@pytest.mark.parametrize("abi", range(1, 9))
@given(rules=st.sets(st.sampled_from(RULES), min_size=1))
def test_every_jail_has_a_wall_to_its_neighbours(abi: int, rules: set[str]):
    """Without Landlock's, the target could trace an exec probe and act in its name."""
    made = make_plan(Jail(frozenset(rules)), abi)
    assert made.handled_fs or made.handled_net or made.scoped
    if not rules & {"exec", "read", "write"}:
        assert made.handled_fs == made.root_rights, "nobody asked to take files away"


@pytest.mark.parametrize("rules", ["nofork", "bind=80", "default"])
def test_a_kernel_without_a_wall_says_so(rules: str):
    """What the target may no longer do itself, an exec probe can still be made to do."""
    (gap,) = find_gaps(jail_of(rules), 0, why="no Landlock")
    assert "taking over processes of this user that are in no jail, such as exec: probes" in gap
    assert gap.endswith(" (no Landlock)")


@pytest.mark.parametrize("rules", ["exec", "nomemfd"])
def test_a_capability_that_leads_around_a_rule_is_a_gap(rules: str):
    """Of memory that is mapped, the kernel makes a file that can be executed (proc(5))."""
    (gap,) = find_gaps(jail_of(rules), 7, capabilities=["CAP_SYS_ADMIN"])
    assert gap.startswith("executing memory by way of /proc/self/map_files (CAP_SYS_ADMIN lets it")
    assert "CapabilityBoundingSet=" in gap
    assert find_gaps(jail_of("nofork"), 7, capabilities=["CAP_SYS_ADMIN"]) == []


@pytest.mark.parametrize("abi", range(2, 8))
@pytest.mark.parametrize("rules", ["default", "read=/a", "exec,connect=1"])
def test_files_can_still_be_moved_between_directories(abi: int, rules: str):
    """Any ruleset denies that unless it is given back; a daemon that renames its data would end."""
    made = make_plan(jail_of(rules), abi)
    assert made.root_rights == plan.REFER
    assert make_plan(jail_of("write=/a"), abi).root_rights == 0
    assert rights_of("write", -1, is_directory=True) & plan.REFER


def test_an_exception_gives_back_its_own_rule_and_no_more():
    """read=/data must not make /data executable."""
    everything = (1 << 16) - 1
    reading, writing = plan.READ_FILE | plan.READ_DIR, plan.WRITE_FILE | plan.TRUNCATE
    assert rights_of("read", everything, is_directory=True) == reading
    assert rights_of("exec", everything, is_directory=True) == reading | plan.EXECUTE
    assert rights_of("write", everything, is_directory=True) == everything & ~plan.EXECUTE
    # A file takes no rights that are about what is in a directory: EINVAL.
    assert rights_of("read", everything, is_directory=False) == plan.READ_FILE
    assert rights_of("exec", everything, is_directory=False) == plan.READ_FILE | plan.EXECUTE
    file = rights_of("write", everything, is_directory=False)
    assert file == plan.READ_FILE | writing | plan.IOCTL_DEV
    assert rights_of("write", plan.EXECUTE, is_directory=True) == 0
