"""What is offered to a service: nothing that would make it weaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from notifywrap.harden.candidates import GUARD, Facts, list_candidates
from notifywrap.harden.jailrules import join_jail
from notifywrap.harden.model import Usage
from notifywrap.harden.restructure import Seen, list_restructurings
from notifywrap.unitfile.sandbox import allows_call, allows_family
from notifywrap.unitfile.unit import parse_unit

if TYPE_CHECKING:
    from notifywrap.harden.model import Candidate

# Weakest first (systemd.exec(5)); what is not named here is a switch.
SCALES = {
    "ProtectSystem": ("no", "yes", "full", "strict"),
    "ProtectHome": ("no", "read-only", "tmpfs", "yes"),
    "ProtectProc": ("default", "noaccess", "invisible"),
    "ProcSubset": ("all", "pid"),
    "DevicePolicy": ("auto", "closed", "strict"),
    "KeyringMode": ("inherit", "shared", "private"),
    "UMask": ("0022", "0027", "0077"),
    "PrivateTmp": ("no", "yes", "disconnected"),
    "ProtectControlGroups": ("no", "yes", "strict"),
    "PrivateUsers": ("no", "yes", "full"),
}
SWITCHES = ("NoNewPrivileges", "PrivateDevices", "ProtectClock", "RestrictNamespaces", "PrivateIPC")
values = st.fixed_dictionaries(
    {},
    optional={
        **{key: st.sampled_from(scale) for key, scale in SCALES.items()},
        **{key: st.sampled_from(("no", "yes", "true", "off")) for key in SWITCHES},
    },
)
LISTS = (
    "RestrictAddressFamilies=AF_UNIX",
    "SystemCallFilter=@basic-io read",
    "SystemCallFilter=~@mount ptrace",
    "CapabilityBoundingSet=CAP_KILL",
    "NoExecPaths=/srv",
    "",
)
PLAIN = Facts(programs=("/usr/bin/x", "/usr/lib"), writable=("/tmp",), low_ports=(80,))


def strength(key: str, value: str) -> int:
    scale = SCALES.get(key)
    if scale:
        return scale.index(value) if value in scale else 0
    return int(value in ("yes", "true"))


def lines(candidate: Candidate) -> list[tuple[str, str]]:
    return [(one.key, one.value) for tier in candidate.tiers for one in tier.settings]


@given(values)
def test_what_the_unit_has_is_never_made_weaker(given_values: dict[str, str]) -> None:
    """A drop-in wins over the unit: a weaker line in it would undo somebody's work."""
    for candidate in list_candidates(PLAIN._replace(values=given_values)):
        for key, value in lines(candidate):
            if key in SCALES or key in SWITCHES:
                assert strength(key, value) > strength(key, given_values.get(key, "no"))


@given(st.sampled_from(LISTS))
def test_a_list_that_the_unit_has_only_gets_shorter(line: str) -> None:
    """systemd adds a list to the one before: an allowed call more is a hole."""
    unit = parse_unit(f"[Service]\nExecStart=/x\n{line}\n")
    key, _, value = line.partition("=")
    has = {key: value} if key else {}
    for candidate in list_candidates(PLAIN._replace(values=has)):
        for tier in candidate.tiers:
            text = "\n".join(f"{one.key}={one.value}" for one in tier.settings)
            after = parse_unit(f"[Service]\nExecStart=/x\n{line}\n{text}\n")
            for call in ("read", "ptrace", "bpf", "setuid"):
                groups = {"read": ["@basic-io"], "ptrace": ["@debug"]}.get(call, [])
                was_allowed = allows_call(unit, call, groups)
                assert was_allowed or not allows_call(after, call, groups)
            for family in ("AF_UNIX", "AF_INET", "AF_NETLINK"):
                assert allows_family(unit, family) or not allows_family(after, family)
            if key in ("CapabilityBoundingSet", "NoExecPaths"):
                assert not [one for one in tier.settings if one.key == key]


def test_names_are_unique_and_every_tier_says_something() -> None:
    """The search goes by names, and a comment without a reason is noise."""
    offered = list_candidates(PLAIN)
    assert len({each.name for each in offered}) == len(offered)
    assert all(each.why and each.tiers and all(t.settings for t in each.tiers) for each in offered)


def test_the_guard_is_always_there() -> None:
    assert set(GUARD) <= {each.name for each in list_candidates(Facts())}


def test_what_allows_calls_comes_before_what_denies_them() -> None:
    """systemd.exec(5): the first line decides what kind of list it is."""
    said = [value for each in list_candidates(PLAIN) for key, value in lines(each)
            if key == "SystemCallFilter"]  # fmt: skip
    assert said[0] == "@system-service"
    assert all(value.startswith("~") for value in said[2:])


def test_systemd_itself_can_still_be_told() -> None:
    """Without AF_UNIX there is no NOTIFY_SOCKET, and no service."""
    families = [value for each in list_candidates(PLAIN) for key, value in lines(each)
                if key == "RestrictAddressFamilies"]  # fmt: skip
    assert families
    assert all("AF_UNIX" in value.split() for value in families)


def test_a_user_of_its_own_is_offered_to_root_alone() -> None:
    """A service with User= has files that belong to it."""
    names = {each.name for each in list_candidates(PLAIN._replace(user="web"))}
    assert "DynamicUser" not in names
    assert "DynamicUser" in {each.name for each in list_candidates(PLAIN)}


def restructured(**changes: object) -> dict[str, Candidate]:
    seen = Seen(
        can_jail=True,
        can_root=True,
        ports=[80, 8080],
        connects=[5432],
        usage=Usage(("/etc/web/site.conf", "/usr/bin/web"), ("/etc/web/site.conf",)),
        states=[("%S", "web")],
        programs=["/usr/bin/web"],
        names={80: "web"},
    )
    offered = list_restructurings(seen._replace(**changes))  # type: ignore[arg-type]
    return {each.name: each for each in offered}


def jail(**changes: object) -> list[str]:
    """The rules of the strongest jail."""
    offered = restructured(**changes).values()
    settings = [one for each in offered for one in each.tiers[0].settings]
    lines = [one.value for one in join_jail(settings) if "NOTIFYWRAP_JAIL=" in one.value]
    assert len(lines) < 2, "the last of them alone would count"
    return "".join(lines).removeprefix("NOTIFYWRAP_JAIL=").split(",")


def test_the_jail_names_what_was_seen() -> None:
    """Ports that it listens on and connects to, its own directory, and what it has read."""
    rules = ["bind=80", "bind=8080", "connect=5432", "write=-%S/web", "read=-/etc/web", "nofork"]
    assert set(rules) <= set(jail())
    assert "noconnect" in jail(connects=[])


def test_no_rule_is_offered_that_was_seen_not_to_fit() -> None:
    """Each would cost a round, and the group that it is in some more."""
    usage = Usage(programs=("/usr/bin/convert",), forks=True, has_unix=True)
    rules = jail(usage=usage)
    assert "exec=-/usr/bin/convert" in rules
    assert "nofork" not in rules
    assert restructured(usage=usage)["--jail=nounix"].is_risky, "it may not miss its socket"


def test_a_service_with_a_jail_keeps_its_own() -> None:
    assert jail(can_jail=False) == [""]


def test_a_root_of_its_own_has_what_was_seen_and_copies_are_not_in_it_twice() -> None:
    """By name, never as a whole: else it hides nothing."""
    narrow, wide = restructured()["RootDirectory"].tiers
    bound = " ".join(one.value for one in narrow.settings if one.key == "BindReadOnlyPaths")
    assert {"-/etc/web", "-/usr/bin/web", "/usr/lib"} <= set(bound.split())
    assert not {"/etc", "/usr", "-/usr/bin", "/"} & set(bound.split())
    assert any("/etc" in one.value.split() for one in wide.settings)
    assert "RootDirectory" not in restructured(can_root=False)
    assert "RootDirectory" not in restructured(usage=Usage()), "nothing was seen"


def test_addresses_are_limited_to_peers_that_will_still_be_there() -> None:
    """A name on the Internet leads elsewhere tomorrow."""
    allowed = restructured(filters_addresses=True, peers=["10.0.0.7"])["IPAddressDeny"]
    assert allowed.tiers[0].settings[1].value == "localhost 10.0.0.7"
    public = ["10.0.0.7", "93.184.216.34"]
    assert "IPAddressDeny" not in restructured(filters_addresses=True, peers=public)
    assert "IPAddressDeny" not in restructured()


def test_sockets_are_offered_for_low_ports_that_are_not_inherited() -> None:
    """Others need no privilege, and those of systemd are there already."""
    (tier,) = restructured()["sockets"].tiers
    assert [(one.name, one.listen) for one in tier.sockets] == [("web", "80")]
    assert "sockets" not in restructured(ports=[8080])
    assert "sockets" not in restructured(inherits=True)
