"""Units that Debian ships and many people run: nothing is wrong with them that would have to be
done something about."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from notifywrap.cli.check import main, understand
from notifywrap.unitfile.findings import Severity
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load_named, load_path, parse_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = Path("/usr/lib/systemd/system")
NAMES = (
    "etcd", "nginx", "postgresql@main", "prometheus", "redis-server", "redis-server@a",
    "systemd-journald", "systemd-logind", "systemd-networkd", "user@1",
)  # fmt: skip

# What is said about them with reason, and why it is no false alarm. All are hints.
REASONS = {
    # Restart= and nothing else: over after half a second of a busy port (FailureAction= apart).
    "gives-up": "the start limit's defaults are 5 starts in 10 s, and RestartSec=100ms",
    # /tmp, /dev/shm and the like are mounts of their own: tests/unitfile/test_noexec.py tries it.
    "writable-executable": "its NoExecPaths=/ leaves places where a dropped file runs",
    # systemd-hostnamed and its kin: tried with systemd 252, 257 and 262.
    "run-writable": "root, ProtectSystem=strict, and a setting that makes /run writable again",
    "start-forever": "systemd waits without end, for a check of a large disk for example",
    "stop-forever": "the same after a watchdog's SIGABRT",
    "no-kill": "a database that is not to be killed, as its maintainer has decided",
    "notify-access": "its processes all may speak for it, as they do while it forks",
    "few-processes": "LimitNPROC= does not hold as long as it is root",
}


@pytest.mark.parametrize("name", NAMES)
def test_no_false_alarm_about_a_unit_of_debian(name: str):
    """Whoever gets one turns the check off."""
    path = DIRECTORY / f"{name}.service"
    if not path.exists() and not (DIRECTORY / f"{name.partition('@')[0]}@.service").exists():
        pytest.skip(f"there is no {path}: script/setup installs its package")
    found = lint(load_path(str(path)), understand)
    assert [each for each in found if each.severity is not Severity.HINT] == []


def units_of_packages() -> Iterator[Path]:
    """Every service that a Debian package has brought to this machine, but for masks."""
    if shutil.which("dpkg-query") is None:
        return
    # Packages older than the merged /usr say /lib.
    words = ["dpkg-query", "-S", "*/systemd/system/*.service"]
    told = subprocess.run(words, check=False, capture_output=True, text=True).stdout
    for line in told.splitlines():
        path = Path(line.partition(": ")[2])
        if path.parent.parent.name == "systemd" and path.is_file() and path.stat().st_size:
            yield path


@pytest.mark.slow
def test_no_false_alarm_about_any_unit_of_the_packages_here(capfd: pytest.CaptureFixture[str]):
    """Nor hints without a reason: each kind that is seen is known, and true."""
    paths = sorted({str(path) for path in units_of_packages()})
    if not paths:
        pytest.skip("no Debian package here has brought a service")
    assert main(["--json", *paths]) == 0, capfd.readouterr().out
    seen = capfd.readouterr()
    assert seen.err == "", "a unit that could not be read"
    found = json.loads(seen.out)
    assert {each["severity"] for each in found} <= {"hint"}
    unknown = [each for each in found if each["rule"] not in REASONS]
    assert unknown == [], f"of {len(paths)} units"


@pytest.mark.parametrize("more", ["BusName=org.example.Server\n", "Sockets=server.socket\n"])
def test_what_its_next_client_starts_again_needs_no_restart(more: str):
    """systemd-hostnamed since systemd 255, and others: a hung one is killed, and started by the
    next who asks."""
    text = "[Service]\nType=notify\nExecStart=/usr/bin/server\nWatchdogSec=3min\nUser=server\n"
    assert rules(text) == ["watchdog-restart"]
    assert rules(text + more) == []


@pytest.mark.parametrize("limit", [1, 10])
def test_a_limit_on_processes_may_be_for_what_root_becomes(limit: int):
    """Debian's OpenVPN starts as root, and becomes nobody by itself: no alarm about that."""
    text = f"[Service]\nType=notify\nExecStart=/usr/sbin/server\nLimitNPROC={limit}\n"
    (found,) = lint(parse_unit(text, "x.service"), understand)
    assert (found.rule, found.severity) == ("few-processes", Severity.HINT)
    (found,) = lint(parse_unit(f"{text}User=nobody\n", "x.service"), understand)
    assert found.severity is Severity.HINT
    known = text.replace("/usr/sbin/server", "/usr/bin/traefik") + "User=traefik\n"
    severity = Severity.ERROR if limit == 1 else Severity.WARNING
    assert [each.severity for each in lint(parse_unit(known, "x.service"), understand)] == [
        severity
    ]


def rules(text: str) -> list[str]:
    return [each.rule for each in lint(parse_unit(text, "x.service"), understand)]


def test_what_is_made_at_boot_may_be_missing_in_a_tree_that_does_not_run(tmp_path: Path):
    """systemd-hostnamed writes to /run/systemd, which no image of a machine has."""
    unit = tmp_path / "usr/lib/systemd/system/x.service"
    unit.parent.mkdir(parents=True)
    text = "[Service]\nExecStart=/usr/bin/true\nReadWritePaths={}\n"
    for path, found in (("/run/systemd", []), ("/srv/missing", ["missing-path"])):
        unit.write_text(text.format(path))
        assert main_rules(tmp_path) == found


def main_rules(root: Path) -> list[str]:
    return [each.rule for each in lint(load_named("x.service", str(root)), understand)]
