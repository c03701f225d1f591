"""`notifywrap unit`: the folders of units/ on their way to /etc, and units for commands."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from notifywrap.cli import unit
from notifywrap.cli.check import main as check
from notifywrap.cli.check import understand
from notifywrap.unitfile.findings import Severity
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load_path, parse_unit

REPOSITORY = Path(__file__).resolve().parents[2]
UNITS = REPOSITORY / "units"
SHIPPED = sorted(str(path.relative_to(UNITS)) for path in UNITS.rglob("*.service"))

FOLDER = {
    "web.service": "[Unit]\nDescription=A web server\n[Service]\nType=notify\n"
    "ExecStart=/usr/local/bin/notifywrap -- /bin/true\nUser=web\nKillMode=mixed\n[Install]\n",
    "web.socket": "[Socket]\nListenStream=80\n[Install]\nWantedBy=sockets.target\n",
    "web.sysusers": "u web\n",
    "web.service.d/more.conf": "[Service]\nWatchdogSec=0\n",
    "README.md": "Read me.\n",
    "strict/README.md": "Read me too.\n",
    "strict/systemd/system/web.service": "[Service]\nType=notify\nExecStart=/bin/true\n",
    "strict/sysusers.d/web.conf": "u web\n",
    "strict/web/web.conf": "port = 80\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A units/ of this test's own, with one service in it."""
    monkeypatch.setattr(unit, "DIRECTORY", str(tmp_path / "units"))
    for name, text in FOLDER.items():
        file = tmp_path / "units/web" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "root").mkdir()
    return tmp_path / "units/web"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_unit_passes_our_own_check(name: str):
    """Whoever copies one and then checks it must not find us wrong."""
    found = lint(load_path(str(UNITS / name)), understand)
    assert [each for each in found if each.severity is not Severity.HINT] == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_units_get_into_the_wheel(tmp_path: Path):
    """`notifywrap unit install` is for machines without a checkout."""
    left_out = (".git", ".venv", ".cache", "tests", "build", "*.egg-info", "__pycache__")
    copy = tmp_path / "copy"
    shutil.copytree(REPOSITORY, copy, symlinks=True, ignore=shutil.ignore_patterns(*left_out))
    words = ("wheel", "-q", "--no-deps", "--no-input", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", "pip", *words, "-w", str(tmp_path), str(copy)], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {path.relative_to(UNITS) for path in UNITS.rglob("*") if path.is_file()}
    assert {f"notifywrap/units/{path}" for path in files} <= names


def test_list_names_each_folder(folder: Path, capfd: pytest.CaptureFixture[str]):
    """With what it is for, from the unit itself."""
    assert unit.main(["list"]) == 0
    out = capfd.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == ["web", "web/strict"]
    assert "A web server" in out


def test_list_says_what_a_template_is_for(folder: Path, capfd: pytest.CaptureFixture[str]):
    """%i is systemd's language, for what stands behind the @."""
    template = folder.parent / "web@/systemd/system/web@.service"
    template.parent.mkdir(parents=True)
    template.write_text("[Unit]\nDescription=A web server, %i\n[Service]\nExecStart=/bin/true\n")
    assert unit.main(["list"]) == 0
    (line,) = (line for line in capfd.readouterr().out.splitlines() if "@" in line)
    assert line.split() == ["web@", "A", "web", "server,", "NAME", "(web@NAME.service)"]


def test_show_prints_what_would_be_installed(folder: Path, capfd: pytest.CaptureFixture[str]):
    """To read before anything is copied."""
    assert unit.main(["show", "web"]) == 0
    out = capfd.readouterr().out
    assert "# /etc/systemd/system/web.socket\n[Socket]" in out
    assert "Read me" not in out


def test_install_copies_the_files_and_says_what_is_next(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """Each where systemd looks for it, readable by all, and as it is in the folder."""
    root = tmp_path / "root"
    assert unit.main(["install", "--root", str(root), "web"]) == 0
    installed = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert installed == {
        "etc/systemd/system/web.service",
        "etc/systemd/system/web.socket",
        "etc/systemd/system/web.service.d/more.conf",
        "etc/sysusers.d/web.conf",
    }
    file = root / "etc/systemd/system/web.service"
    assert file.read_text() == FOLDER["web.service"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    out = capfd.readouterr().out
    assert f"systemd-sysusers --root={root}\n" in out
    assert f"systemctl --root={root} enable web.socket web.service\n" in out
    assert unit.main(["install", "--root", str(root), "web"]) == 0  # and again, for nothing


def test_a_folder_laid_out_as_etc_is_copied_as_it_stands(folder: Path, tmp_path: Path):
    """`cp -r` of it does the same."""
    root = tmp_path / "root"
    assert unit.main(["install", "--root", str(root), "web/strict"]) == 0
    installed = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert installed == {
        "etc/systemd/system/web.service",
        "etc/sysusers.d/web.conf",
        "etc/web/web.conf",
    }


def test_install_never_overwrites_what_differs(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """Somebody's own changes are worth more than ours; then nothing at all is changed."""
    root = tmp_path / "root"
    file = root / "etc/systemd/system/web.service"
    file.parent.mkdir(parents=True)
    file.write_text("mine\n")
    assert unit.main(["install", "--root", str(root), "web"]) == 1
    error = capfd.readouterr().err
    assert str(file) in error
    assert "--force" in error
    assert [path for path in root.rglob("*") if path.is_file()] == [file]
    assert file.read_text() == "mine\n"
    assert unit.main(["install", "--force", "--root", str(root), "web"]) == 0
    assert file.read_text() == FOLDER["web.service"]


def test_install_says_which_sockets_of_another_variant_are_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """Enabled, they would hold the ports that the other variant binds itself."""
    for name in ("traefik", "traefik-ports"):
        assert unit.main(["install", "--root", str(tmp_path), "--force", name]) == 0
    first, _, second = capfd.readouterr().out.partition("enable traefik-web.socket")
    assert "disable" not in first
    assert f" --root={tmp_path} disable traefik-web.socket traefik-websecure.socket " in second
    assert unit.main(["install", "--root", str(tmp_path), "--force", "traefik-strict"]) == 0
    assert "disable" not in capfd.readouterr().out, "they are its own"


def test_install_says_when_the_programs_are_elsewhere(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """ExecPaths= fits one Python; where there is another the service would end with 203/EXEC."""
    root = tmp_path / "root"
    with (folder / "web.service").open("a") as file:
        file.write("[Service]\nNoExecPaths=/ /dev/shm\n")
        file.write("ExecPaths=/usr/local/bin/notifywrap /usr/bin/python3 /usr/lib /bin/true\n")
    script = root / "usr/local/bin/notifywrap"
    script.parent.mkdir(parents=True)
    script.write_text("#!/opt/python/bin/python3\n")
    assert unit.main(["install", "--root", str(root), "web"]) == 0
    out = capfd.readouterr().out
    assert "ExecPaths= does not cover /opt/python/bin/python3" in out
    script.write_text("#!/usr/bin/python3\n")
    assert unit.main(["install", "--root", str(root), "web"]) == 0
    assert "ExecPaths" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "what about it?"),
        (["lst"], "'lst' is not known"),
        (["install", "wbe"], "there is no unit 'wbe' (did you mean web?)"),
        (["install"], "name one of web, web/strict"),
        (["new"], "write notifywrap unit new"),
        (["new", "--", "no-such-command"], "'no-such-command' is no program"),
        (["new", "--probe", "tcp:0", "--", "true"], "--probe: '0' is not a port"),
        (["new", "--name", "a b", "--", "true"], "--name: 'a b' is no name"),
    ],
)
def test_misuse_is_one_line(
    folder: Path, words: list[str], said: str, capfd: pytest.CaptureFixture[str]
):
    """And nothing is written."""
    assert unit.main(words) == 2
    seen = capfd.readouterr()
    assert said in seen.err
    assert (seen.out, seen.err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    "words",
    [
        ["--", "true"],
        ["--user", "daemon", "--probe", "tcp:80", "--", "true"],
        [
            "--ready",
            "log:100%\\d",
            "--jail",
            "--",
            "true",
            "a b",
            "$HOME",
            "%i",
            'x"y',
            "",
            "\\",
            ";",
        ],
    ],
)
def test_a_new_unit_has_no_finding_and_runs_the_very_words(
    words: list[str], capfd: pytest.CaptureFixture[str]
):
    """Quoting is ours to get right; `systemd-analyze verify` has its word in tests/system."""
    assert unit.main(["new", "--name", "x", *words]) == 0
    made = parse_unit(capfd.readouterr().out, "x.service")
    severe = [found for found in lint(made, understand) if found.severity.value != "hint"]
    assert severe == []
    ((command, _),) = made.commands("ExecStart")
    target = command.argv[command.argv.index("--") + 1 :]
    assert [word.replace("$$", "$") for word in target[1:]] == words[words.index("--") + 2 :]


def test_a_low_port_gets_its_capability(capfd: pytest.CaptureFixture[str]):
    """With PrivateUsers= beside it the bind would be refused."""
    for port, capabilities in ((80, ["CAP_NET_BIND_SERVICE"]), (8080, [])):
        assert unit.main(["new", "--probe", f"tcp:{port}", "--", "true"]) == 0
        made = parse_unit(capfd.readouterr().out)
        assert made.words("AmbientCapabilities") == capabilities
        assert made.flag("PrivateUsers") is (not capabilities)


def test_output_is_never_written_over(tmp_path: Path):
    """A unit that somebody has edited since is not ours any more."""
    file = tmp_path / "x.service"
    assert unit.main(["new", "--probe", "tcp:81", "--output", str(file), "--", "true"]) == 0
    assert check([str(file)]) == 0
    file.write_text("edited")
    assert unit.main(["new", "--output", str(file), "--", "true"]) == 125
    assert file.read_text() == "edited"
