"""`notifywrap unit install --notify-reload`: for whom it is, and for whom not."""

from __future__ import annotations

from pathlib import Path

import pytest

from notifywrap.cli import unit
from notifywrap.cli.check import understand
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load_named

UNITS = Path(__file__).resolve().parents[2] / "units"
FOLDERS = sorted(path.name for path in UNITS.iterdir() if path.is_dir())
# Why not.
NOT_FOR = {
    "gunicorn": "asks env before it reloads",
    "minio": "has nothing to reload",
    "prometheus": "asks promtool before it reloads",
    "redis": "has nothing to reload",
    "uvicorn": "has nothing to reload",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with a systemd of its own."""
    (tmp_path / "usr/lib/systemd").mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/libsystemd-shared-257.so").touch()
    return tmp_path


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_drop_in_is_installed_beside_each_unit_that_it_fits(
    root: Path, folder: str, capfd: pytest.CaptureFixture[str]
):
    """And the unit's comments say which it fits: nobody should find out by a reload."""
    status = unit.main(["install", "--root", str(root), "--notify-reload", folder])
    (service,) = (UNITS / folder).rglob("*.service")
    advice = f"notifywrap unit install --notify-reload {folder}"
    assert (advice in service.read_text()) is (folder not in NOT_FOR)
    if folder in NOT_FOR:
        assert (status, (root / "etc").exists()) == (2, False)
        assert NOT_FOR[folder] in capfd.readouterr().err
        return
    assert status == 0
    made = load_named(service.name.replace("@.", "@x."), str(root))
    assert made.choice("Type", ("notify", "notify-reload"), "") == "notify-reload"
    assert made.commands("ExecReload") == []
    assert [each for each in lint(made, understand) if each.rule == "reload"] == []


def test_an_older_systemd_is_told_apart(root: Path, capfd: pytest.CaptureFixture[str]):
    """It would ignore the type, and have no way to reload at all."""
    library = root / "usr/lib/systemd/libsystemd-shared-257.so"
    library.rename(library.with_name("libsystemd-shared-252.so"))
    assert unit.main(["install", "--root", str(root), "--notify-reload", "traefik"]) == 2
    assert "systemd 252 does not know Type=notify-reload" in capfd.readouterr().err
    assert not (root / "etc").exists()


def test_without_it_no_unit_depends_on_the_newer_systemd():
    """Debian 12 has 252."""
    for service in UNITS.rglob("*.service"):
        assert "\nType=notify\n" in service.read_text()
    assert list(UNITS.rglob("*.conf.d")) == [] == list(UNITS.rglob("*.service.d"))
