"""The unit that stands for the real one: what it keeps, what it leaves out, what it renames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.drill.throwaway import Throwaway, make_throwaway, name_in_root
from notifywrap.unitfile.unit import parse_unit

if TYPE_CHECKING:
    from pathlib import Path

TAG = "notifywrap-drill-0123abcd"


def make(lines: str, *, python: str = "/usr/bin/python3", name: str = "web.service") -> Throwaway:
    unit = parse_unit(f"[Service]\nExecStart=/usr/bin/web\n{lines}\n", name)
    return make_throwaway(unit, TAG, f"/run/{TAG}-home", python, [python, "/usr/lib/libc.so.6"])


@pytest.mark.parametrize(
    "line",
    [
        "User=web",
        "ProtectSystem=strict",
        "SystemCallFilter=@system-service",
        "CapabilityBoundingSet=",
        "LoadCredential=key:/etc/web/key",
        "Delegate=yes",
        "Environment=A=%h B=%%",
    ],
)
def test_what_makes_the_sandbox_is_kept(line: str):
    """Whatever is left out here is a sandbox better or worse than the real one."""
    assert line in make(line).text.splitlines()


@pytest.mark.parametrize(
    "line",
    [
        "ExecStartPre=/bin/rm -rf /srv",
        "ExecStopPost=+/bin/true",
        "ExecReload=/bin/true",
        "Restart=always",
        "FailureAction=reboot",
        "PIDFile=/run/web.pid",
        "Sockets=web.socket",
        "BusName=org.example.Web",
        "SystemCallErrorNumber=EINVAL",
        "ConfigurationDirectory=web",
    ],
)
def test_what_the_service_does_is_left_out(line: str):
    """Neither are its commands run, nor does it act on the machine."""
    assert line not in make(line).text.splitlines()


def test_its_directories_get_names_of_their_own():
    """The real ones hold the real data."""
    made = make(
        "StateDirectory=web web/cache other:alias\n"
        "WorkingDirectory=%S/web\n"
        "ReadWritePaths=-/var/lib/web/x /var/lib/website /srv/var/lib/web\n"
        "NoExecPaths=/var/lib/private/web /var/lib/other /var/lib/web/cache"
    )
    lines = made.text.splitlines()
    assert f"StateDirectory={TAG} {TAG}-1 {TAG}-2" in lines
    assert f"WorkingDirectory=%S/{TAG}" in lines
    assert f"ReadWritePaths=-/var/lib/{TAG}/x /var/lib/website /srv/var/lib/web" in lines
    assert f"NoExecPaths=/var/lib/private/{TAG} /var/lib/{TAG}-2 /var/lib/{TAG}-1" in lines
    assert made.move("write=/var/lib/web,exec=/x") == f"write=/var/lib/{TAG},exec=/x"


def test_specifiers_that_mean_its_name_still_do():
    """%i of an instance is in many a path."""
    lines = make("BindPaths=/srv/%i/%p:%t/%N", name="web@one.service").text.splitlines()
    assert "BindPaths=/srv/one/web:%t/web@one" in lines


def test_a_limit_on_processes_is_for_the_attempts_to_set():
    """Under it the drill itself could not start one."""
    made = make("LimitNPROC=1")
    assert made.max_processes == 1
    assert "LimitNPROC" not in made.text


def test_full_privileges_of_the_command_are_kept():
    """ExecStart=+... is outside of the sandbox."""
    assert (
        "ExecStart=+/usr/bin/python3 -I -S -B -"
        in make("ExecStart=\nExecStart=-+/usr/bin/web").text
    )


def test_python_is_made_executable_and_that_is_said():
    """Else nothing could be tried; but the unit is better than it looks then."""
    made = make("NoExecPaths=/\nExecPaths=/usr/bin/web /usr/lib")
    assert "ExecPaths=/usr/bin/python3" in made.text.splitlines()
    assert "exec python" in made.remarks[0]
    assert make("NoExecPaths=/\nExecPaths=/usr/bin/python3 /usr/lib").remarks == ()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [("", "none"), ("Type=notify", "main"), ("NotifyAccess=all", "all"), ("WatchdogSec=1", "main")],
)
def test_systemd_listens_where_it_would_listen(lines: str, expected: str):
    """The socket for READY=1 is something that an intruder may find."""
    assert f"NotifyAccess={expected}" in make(lines).text.splitlines()


def test_python_is_called_as_in_the_root_of_the_unit(tmp_path: Path):
    """A link that is bound is a file there, and what it leads to need not be there at all."""
    real, link = tmp_path / "python3.11", tmp_path / "python3"
    real.touch()
    link.symlink_to(real)
    binds = f"RootDirectory=/srv\nBindReadOnlyPaths=/usr/lib -{link}"
    unit = parse_unit(f"[Service]\nExecStart=/usr/bin/web\n{binds}\n", "web.service")
    assert name_in_root(unit, str(real)) == str(link)
    unit = parse_unit(f"[Service]\nExecStart=/usr/bin/web\n{binds}:/bin/py\n", "web.service")
    assert name_in_root(unit, str(real)) == "/bin/py"
    assert name_in_root(unit, "/usr/bin/other") == "/usr/bin/other"
