"""The units beside a service that harden has given a network of its own."""

from __future__ import annotations

import pytest

from notifywrap.harden.sockets import format_sockets, is_backend, offer_backends
from notifywrap.unitfile.syntax import parse_text


def lines(text: str) -> set[tuple[str, str, str]]:
    return {(each.section, each.key, each.value) for each in parse_text(text, "x").assignments}


def test_a_proxy_takes_an_address_without_brackets() -> None:
    """systemd-socket-proxyd cannot resolve the host "[::1]"; ListenStream= needs the brackets."""
    tier = offer_backends("web.service", ["[::1]:5432"])
    texts = format_sockets("web.service", tier.sockets)
    assert ("Socket", "ListenStream", "[::1]:5432") in lines(texts["web-backend-5432.socket"])
    (start,) = [v for _, k, v in lines(texts["web-backend-5432.service"]) if k == "ExecStart"]
    assert start.endswith(" ::1:5432")


def test_units_of_an_instance_are_no_instances() -> None:
    """web@1-backend-5432.service would have the drop-ins of web@.service."""
    unit = "web@1.service"
    tier = offer_backends(unit, ["127.0.0.1:5432"])
    texts = format_sockets(unit, tier.sockets)
    assert set(texts) == {"web-1-backend-5432.socket", "web-1-backend-5432.service"}
    assert ("Unit", "PartOf", unit) in lines(texts["web-1-backend-5432.socket"])


@pytest.mark.parametrize(
    ("name", "is_it"),
    [
        ("web-backend-5432.socket", True),
        ("web-backend-5432-1.socket", True),
        ("web.socket", False),
        ("other-backend-5432.socket", False),
    ],
)
def test_a_former_result_is_known_by_its_names(name: str, is_it: bool) -> None:
    assert is_backend("web.service", name) is is_it
