"""The variants of units/traefik: what is right in one must not be forgotten in another."""

from __future__ import annotations

import pytest

from notifywrap.cli import unit as command
from tests.conftest import REPOSITORY
from tests.units.every import boot

UNITS = REPOSITORY / "units"
# Why they differ is said in their comments.
STRICT = {"Description", "RootDirectory", "BindReadOnlyPaths", "InaccessiblePaths",
          "NoExecPaths", "ExecPaths"}  # fmt: skip
PORTS = {"Description", "Requires", "After", "Sockets", "ExecStart", "AmbientCapabilities", "Also",
         "CapabilityBoundingSet", "PrivateUsers", "ProcSubset"}  # fmt: skip


def settings(folder: str) -> set[str]:
    text = (UNITS / folder / "systemd/system/traefik.service").read_text().replace("\\\n", "")
    return {line for line in text.splitlines() if line and line[0] not in "#["}


def differing(folder: str) -> set[str]:
    """The names of settings that are not as in units/traefik."""
    return {line.partition("=")[0] for line in settings(folder) ^ settings("traefik")}


def test_the_variants_differ_from_the_plain_unit_only_where_they_say():
    """Nobody fixes the same line three times."""
    assert differing("traefik-strict") == STRICT
    assert differing("traefik-ports") == PORTS


def test_the_variants_configure_traefik_and_its_sockets_alike():
    """Moving from one to another is a copy, whatever has been configured."""
    plain = UNITS / "traefik"
    for path in plain.rglob("*"):
        name = path.relative_to(plain)
        if path.is_file() and name.name not in ("traefik.service", "traefik.yml"):
            for folder in ("traefik-strict", "traefik-ports"):
                if folder != "traefik-ports" or path.suffix != ".socket":
                    assert (UNITS / folder / name).read_bytes() == path.read_bytes()
    configurations = {
        "\n".join(line for line in text.splitlines() if line.strip()[:1] != "#")
        for text in (path.read_text() for path in UNITS.glob("traefik*/traefik/traefik.yml"))
    }
    assert len(configurations) == 1


@pytest.mark.systemd
@pytest.mark.slow
def test_moving_to_the_variant_that_binds_its_ports_leaves_no_socket(
    capfd: pytest.CaptureFixture[str],
):
    """What `unit install` says is next is all that there is to do."""
    place = boot("traefik")
    lab = place.lab
    try:
        lab.systemctl("enable", "--now", "traefik.service", check=True)
        words = ["install", "--force", "--root", str(place.root), "traefik-ports"]
        assert command.main(words) == 0
        said = capfd.readouterr().out
        (line,) = (line for line in said.splitlines() if " disable " in line)
        sockets = line.partition(" disable ")[2].partition(" #")[0].split()
        lab.systemctl("disable", "--now", *sockets, check=True)
        lab.systemctl("daemon-reload", check=True)
        lab.systemctl("enable", "--now", "traefik.service", check=True)
        assert place.ask("get", "http://127.0.0.1/ping")["status"] == 200
        for name in ("traefik-web.socket", "traefik-websecure.socket"):
            assert lab.systemctl("is-enabled", name).stdout.strip() == "disabled"
            assert lab.show(name, "ActiveState") == {"ActiveState": "inactive"}
    finally:
        lab.down()
