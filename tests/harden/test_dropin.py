"""The drop-in: what systemd reads, and what people do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from notifywrap.harden.dropin import Result, format_dropin
from notifywrap.harden.model import Candidate, Pick, Setting, Socket, Tier
from notifywrap.harden.sockets import format_sockets, offer_backends
from notifywrap.unitfile.syntax import parse_text

HOME = Candidate(
    "ProtectHome",
    "homes are out of sight",
    (Tier((Setting("ProtectHome", "yes"),)), Tier((Setting("ProtectHome", "read-only"),))),
)
NETWORK = Candidate("PrivateNetwork", "no network", (Tier((Setting("PrivateNetwork", "yes"),)),))
SOCKETS = Candidate(
    "sockets",
    "systemd binds its ports",
    (Tier((Setting("AmbientCapabilities", ""),), (Socket("web", "80"),)),),
)
RESULT = Result(
    "web.service",
    ("Exposure 9.6 -> 1.1.",),
    (HOME, NETWORK, SOCKETS),
    kept=(Pick("ProtectHome", 1),),
    rejected=(
        (Pick("ProtectHome"), ("it does not start: exit status 1, 'no home'",)),
        (Pick("PrivateNetwork"), ("nobody listens on 0.0.0.0:80 any more",)),
    ),
    untried=("jail",),
)


def settings(text: str) -> list[tuple[str, str, str]]:
    parsed = parse_text(text, "x")
    assert not parsed.problems
    return [(each.section, each.key, each.value) for each in parsed.assignments]


def test_it_says_what_is_kept_why_and_why_not_more() -> None:
    """Whoever reads it in a year has nothing else."""
    text = format_dropin(RESULT)
    assert settings(text) == [("Service", "ProtectHome", "read-only")]
    assert "# Homes are out of sight.\n# Not ProtectHome=yes: it does not start" in text
    assert "# Rejected PrivateNetwork=yes: nobody listens on 0.0.0.0:80 any more." in text
    assert "# Not tried: jail." in text
    assert "# Exposure 9.6 -> 1.1." in text


def test_it_says_how_to_undo_it() -> None:
    """All of it: a .socket unit that is left would start the service at the next boot."""
    lines = format_dropin(RESULT).splitlines()
    assert "#   rm -r /etc/systemd/system/web.service.d/50-harden.conf" in lines
    text = format_dropin(RESULT._replace(kept=(Pick("sockets"),)))
    assert "#   systemctl stop web-web.socket\n#   rm -r " in text
    assert " /etc/systemd/system/web-web.socket\n#   systemctl daemon-reload\n" in text


def test_the_service_knows_its_sockets() -> None:
    """Else systemd hands it none, and it binds the ports itself: without the privilege now."""
    found = settings(format_dropin(RESULT._replace(kept=(Pick("sockets"),))))
    for wanted in (("Unit", "Requires"), ("Unit", "After"), ("Service", "Sockets")):
        assert (*wanted, "web-web.socket") in found
    assert ("Service", "AmbientCapabilities", "") in found
    (own,) = format_sockets("web.service", [Socket("web", "80")]).values()
    assert ("Socket", "ListenStream", "80") in settings(own)


def test_backends_are_no_sockets_of_its_own() -> None:
    """systemd would hand them over, to a service that knows of none."""
    addresses = ["127.0.0.1:6379", "[::1]:6379"]
    tiers = (*NETWORK.tiers, offer_backends("web.service", addresses))
    kept = (Pick("PrivateNetwork", 1),)
    result = RESULT._replace(candidates=(HOME, NETWORK._replace(tiers=tiers)), kept=kept)
    text = format_dropin(result)
    names = "web-backend-6379.socket web-backend-6379-1.socket"
    assert settings(text) == [
        ("Unit", "Requires", names),
        ("Unit", "After", names),
        ("Unit", "JoinsNamespaceOf", names),
        ("Service", "PrivateNetwork", "yes"),
    ]
    assert "# Not PrivateNetwork=yes alone: nobody listens on 0.0.0.0:80 any more." in text
    for name in (*names.split(), "web-backend-6379.service", "web-backend-6379-1.service"):
        assert f" /etc/systemd/system/{name}" in text


@given(st.text(max_size=300))
def test_no_log_line_gets_out_of_its_comment(said: str) -> None:
    """It is whatever the service wrote: a newline or a backslash in it must not be a setting."""
    result = RESULT._replace(rejected=((Pick("PrivateNetwork"), (said,)),))
    assert settings(format_dropin(result)) == [("Service", "ProtectHome", "read-only")]


def test_all_backends_are_in_one_namespace() -> None:
    """Of several the service would join the first, and not reach the others."""
    tier = offer_backends("web.service", ["127.0.0.1:5432", "127.0.0.1:6379"])
    texts = format_sockets("web.service", tier.sockets)
    lines = settings(texts["web-backend-6379.socket"])
    assert ("Unit", "JoinsNamespaceOf", "web-backend-5432.socket") in lines
    assert ("Unit", "After", "web-backend-5432.socket") in lines
    assert "JoinsNamespaceOf" not in {
        key for _, key, _ in settings(texts["web-backend-5432.socket"])
    }
