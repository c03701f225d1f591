"""The drop-in: what systemd reads, and what people do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from notifywrap.harden.dropin import Result, format_dropin, format_socket
from notifywrap.harden.model import Candidate, Pick, Setting, Socket, Tier
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
    assert ("Socket", "ListenStream", "80") in settings(
        format_socket("web.service", Socket("web", "80"))
    )


@given(st.text(max_size=300))
def test_no_log_line_gets_out_of_its_comment(said: str) -> None:
    """It is whatever the service wrote: a newline or a backslash in it must not be a setting."""
    result = RESULT._replace(rejected=((Pick("PrivateNetwork"), (said,)),))
    assert settings(format_dropin(result)) == [("Service", "ProtectHome", "read-only")]
