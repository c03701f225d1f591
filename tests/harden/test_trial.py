"""The units of a round: the service as it is, but for its name and its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.cli.check import understand
from notifywrap.errors import SpecError
from notifywrap.harden.model import Setting, Socket
from notifywrap.harden.sockets import offer_backends
from notifywrap.harden.trial import (
    Original,
    compose,
    find_copies,
    merge,
    read_command,
    read_unit,
)
from notifywrap.unitfile.findings import Subject
from notifywrap.unitfile.unit import load, parse_unit

if TYPE_CHECKING:
    from pathlib import Path

TAG = "notifywrap-harden-00000000"
UNIT = """\
[Unit]
Description=web
Requires=database.service
Conflicts=apache2.service
After=database.service
[Service]
Type=notify
ExecStart=/usr/local/bin/notifywrap -- /usr/bin/web --data /var/lib/web --name %n
StateDirectory=web
WorkingDirectory=%S/web
Environment=DATA=/var/lib/web OTHER=/var/lib/website
User=web
Restart=always
WatchdogSec=5s
TimeoutStartSec=infinity
ReadWritePaths=/etc/hostname
[Install]
WantedBy=multi-user.target
"""


def original(text: str = UNIT) -> Original:
    return Original(Subject(parse_unit(text, "web.service"), understand))


def composed(*settings: Setting, text: str = UNIT, sockets: tuple[Socket, ...] = ()) -> list[str]:
    service = original(text)
    copies = find_copies(service, TAG)
    return compose(service, TAG, settings, sockets, copies)[f"{TAG}.service"].splitlines()


def test_what_makes_the_service_is_kept() -> None:
    """A round that runs something else proves nothing."""
    lines = composed()
    for wanted in ("User=web", "WatchdogSec=5s", "Type=notify", "After=database.service"):
        assert wanted in lines


def test_other_units_are_neither_started_nor_stopped() -> None:
    """The trial must not take a real web server down, nor bring a database up."""
    text = "\n".join(composed())
    assert "Requires=" not in text
    assert "Conflicts=" not in text
    assert "WantedBy=" not in text


def test_it_is_started_once_and_in_finite_time() -> None:
    """A round that restarts by itself looks as if it were well."""
    lines = composed()
    assert "Restart=no" in lines
    assert "Restart=always" not in lines
    assert [line for line in lines if line.startswith("TimeoutStart")] == ["TimeoutStartSec=60"]


def test_its_data_is_a_copy_under_both_names() -> None:
    """By its own name, as its configuration may have that, and by the one of the round."""
    lines = composed()
    assert f"StateDirectory={TAG}" in lines
    assert f"WorkingDirectory=%S/{TAG}" in lines
    assert f"Environment=DATA=/var/lib/{TAG} OTHER=/var/lib/website" in lines
    assert f"BindPaths=-/var/lib/{TAG}:/var/lib/web" in lines
    assert f"BindPaths=-/var/lib/{TAG}-copy-0:/etc/hostname" in lines
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert start.endswith(f"--data /var/lib/{TAG} --name web.service")


def test_everything_else_is_read_only_whatever_is_tried() -> None:
    """A round may take the sandbox away from the unit, but not the guard from the data."""
    for more in ((), (Setting("ProtectSystem", "no"), Setting("PrivateTmp", "no"))):
        lines = composed(*more, text=UNIT.replace("User=web", "ProtectSystem=no"))
        said = [line for line in lines if line.startswith(("ProtectSystem=", "PrivateTmp="))]
        assert said[-2:] == ["ProtectSystem=strict", "PrivateTmp=yes"]


def test_a_service_that_cannot_tell_is_started_by_notifywrap() -> None:
    """Else nobody knows when to look."""
    lines = composed(text=UNIT.replace("Type=notify", "Type=simple"))
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert "notifywrap -- /usr/local/bin/notifywrap" in start
    assert "Type=notify" in lines


def test_new_sockets_lead_to_the_round() -> None:
    units = compose(original(), TAG, (), (Socket("web", "80"),))
    text = units[f"{TAG}-web.socket"]
    assert f"Service={TAG}.service" in text
    assert "FileDescriptorName=web" in text
    assert f"Sockets={TAG}-web.socket" in units[f"{TAG}.service"]


def test_backends_are_in_the_namespace_of_the_round() -> None:
    """A round's own: the service's, if it has one, is none of its business."""
    tier = offer_backends("web.service", ["127.0.0.1:6379"])
    units = compose(original(), TAG, tier.settings, tier.sockets)
    assert {*units} == {f"{TAG}{end}" for end in (
        ".service", "-backend-6379.socket", "-backend-6379.service",
    )}  # fmt: skip
    lines = units[f"{TAG}.service"].splitlines()
    for key in ("Requires", "After", "JoinsNamespaceOf"):
        assert f"{key}={TAG}-backend-6379.socket" in lines
    assert not [line for line in lines if line.startswith("Sockets=")]


def test_a_socket_keeps_the_name_that_its_service_knows(tmp_path: Path) -> None:
    """By default it is the socket unit's own, which the copy does not have."""
    (tmp_path / "web.service").write_text(UNIT)
    (tmp_path / "web.socket").write_text("[Socket]\nListenStream=80\nBacklog=7\n")
    service = read_unit(Subject(load(str(tmp_path / "web.service")), understand))
    text = compose(service, TAG, ())[f"{TAG}-0.socket"]
    assert "FileDescriptorName=web.socket" in text
    assert "Backlog=7" in text


def test_the_result_is_the_unit_with_lines_added() -> None:
    """What is scored, under its own name."""
    merged = parse_unit(merge(original(), [Setting("ProtectHome", "yes")]), "web.service")
    assert merged.flag("ProtectHome")
    assert merged.text("User") == "web"
    assert merged.words("Requires", section="Unit") == ["database.service"]


def test_a_command_becomes_a_unit_without_any_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """`harden -- COMMAND`: the search begins at nothing."""
    monkeypatch.setattr("sys.executable", "/usr/bin/python3")  # this one may be below /tmp
    service = read_command(["--probe", "tcp:80"], ["sleep", "60"], understand)
    assert service.unit.name.full == "sleep.service"
    assert service.is_notify
    assert "--probe tcp:80 -- /usr/bin/sleep 60" in service.unit.lines("ExecStart")[0].value


def test_a_program_that_no_round_would_see_is_named_at_once(tmp_path: Path) -> None:
    """A checkout in /tmp: 203/EXEC in the first round says nothing of the reason."""
    text = f"[Service]\nType=notify\nExecStart={tmp_path}/notifywrap -- /usr/bin/web\n"
    with pytest.raises(SpecError, match=r"ExecStart='?.*is below /tmp, .*install it elsewhere"):
        read_unit(Subject(parse_unit(text, "web.service"), understand))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (UNIT.replace("ExecStart", "ExecStop"), "no ExecStart="),
        (UNIT.replace("Type=notify", "Type=forking"), "Type=forking: .* in the foreground"),
        (UNIT.replace("User=web", "ExecStartPre=+/bin/rm -r /srv/web"), "outside of the sandbox"),
    ],
)
def test_what_cannot_be_tried_is_said_at_once(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        read_unit(Subject(parse_unit(text, "web.service"), understand))
