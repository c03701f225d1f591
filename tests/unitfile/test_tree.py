"""Units found by name in a tree: drop-ins, masks, aliases, templates, and what is around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.cli.check import understand
from notifywrap.errors import SpecError
from notifywrap.unitfile.rules import lint
from notifywrap.unitfile.unit import load, load_named

if TYPE_CHECKING:
    from pathlib import Path

    from notifywrap.unitfile.findings import Finding

GOOD = """\
[Unit]
StartLimitIntervalSec=5min
StartLimitBurst=10
[Service]
Type=notify
ExecStart=/usr/local/bin/notifywrap --probe tcp:8080 -- /usr/bin/server
User=server
KillMode=mixed
WatchdogSec=30s
Restart=on-failure
RestartSec=2s
"""


class Root:
    """A tree of files in which units are looked up."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, name: str, text: str) -> Path:
        """A file: a unit's name, or an absolute path."""
        directory = "" if name.startswith("/") else "etc/systemd/system/"
        file = self.path / f"{directory}{name}".lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def link(self, name: str, goal: str) -> None:
        file = self.path / "etc/systemd/system" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(goal)

    def check(self, name: str = "x.service") -> list[Finding]:
        return lint(load_named(name, str(self.path)), understand)

    def rules(self, name: str = "x.service") -> list[str]:
        return [found.rule for found in self.check(name)]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    root = Root(tmp_path)
    root.put("x.service", GOOD)
    return root


def test_a_good_unit_has_no_finding(root: Root):
    """The ground that the others stand on."""
    assert root.check() == []


def test_a_drop_in_is_judged_with_the_unit_and_named(root: Root):
    """The line to change is in the drop-in, whoever is right."""
    file = root.put("x.service.d/10.conf", "# mine\n[Service]\nKillMode=process\n")
    (found,) = root.check()
    assert (found.rule, found.path, found.line) == ("kill-mode", str(file), 3)


def test_a_drop_in_may_put_things_right(root: Root):
    """What holds in the end counts, not what some file says."""
    root.put("/usr/lib/systemd/system/y.service", GOOD.replace("KillMode=mixed\n", ""))
    assert root.rules("y.service") == ["kill-mode"]
    root.put("service.d/all.conf", "[Service]\nKillMode=mixed\n")
    assert root.rules("y.service") == []


def test_a_second_command_in_a_drop_in_is_found(root: Root):
    """The most common mistake with drop-ins: systemd then refuses the whole unit."""
    override = "[Service]\n{}ExecStart=/usr/local/bin/notifywrap --probe tcp:81 -- /bin/other\n"
    root.put("x.service.d/exec.conf", override.format(""))
    assert root.rules() == ["several-starts"]
    root.put("x.service.d/exec.conf", override.format("ExecStart=\n"))
    assert root.rules() == []


def test_a_unit_that_is_not_there_or_masked_is_one_line(root: Root):
    """Nothing was checked, and that is no success."""
    root.link("gone.service", "/dev/null")
    root.put("empty.service", "")
    for name, why in (("y", "no such unit"), ("gone", "masked"), ("empty", "masked")):
        with pytest.raises(SpecError, match=f"{name}.service.*{why}"):
            load(name, str(root.path))


def test_symlinks_that_go_round_in_circles_end(root: Root):
    """A linter that hangs is worse than one that finds nothing."""
    root.link("a.service", "b.service")
    root.link("b.service", "a.service")
    with pytest.raises(SpecError, match="circles"):
        root.check("a.service")
    root.link("self.service.d", "self.service.d")
    root.put("self.service", GOOD)
    assert root.check("self.service") == []


def test_an_instance_reads_its_own_settings(root: Root):
    """%i in EnvironmentFile= decides what the wrapper is asked for."""
    text = GOOD.replace("--probe tcp:8080", "").replace(
        "User=", "EnvironmentFile=/etc/%i.conf\nUser="
    )
    root.put("t@.service", text)
    root.put("/etc/good.conf", "NOTIFYWRAP_PROBE=tcp:8080\n")
    root.put("/etc/bad.conf", "NOTIFYWRAP_PERIOD=40s\n")
    assert root.rules("t@good.service") == []
    assert root.rules("t@bad.service") == ["own-options"]
    assert root.rules("t@.service") == []  # of a template alone nothing is known


def test_a_template_whose_command_is_in_its_instances_settings_is_no_mistake(root: Root):
    """units/notifywrap@ was one, as soon as it was installed."""
    unit = "[Service]\nType=notify\nKillMode=mixed\nEnvironmentFile=/etc/%i.conf\nUser=daemon\n"
    root.put("t@.service", f"{unit}ExecStart=/usr/bin/notifywrap -- $COMMAND\n")
    assert "own-options" not in root.rules("t@.service")
    assert "own-options" in root.rules("t@nothing.service")


def test_a_path_is_taken_with_the_directory_beside_it(tmp_path: Path):
    """A unit in a repository, before it is installed anywhere."""
    file = tmp_path / "t@.service"
    file.write_text(GOOD)
    (tmp_path / "t@.service.d").mkdir()
    (tmp_path / "t@.service.d/x.conf").write_text("[Service]\nRemainAfterExit=yes\n")
    for path in (file, tmp_path / "t@one.service"):
        found = lint(load(str(path)), understand)
        assert [each.rule for each in found] == ["remains"]
        assert found[0].path.endswith("t@.service.d/x.conf")


@pytest.mark.parametrize(("version", "rules"), [(252, ["type"]), (253, [])])
def test_notify_reload_needs_a_systemd_that_knows_it(root: Root, version: int, rules: list[str]):
    """An older one ignores the line, and the service is Type=simple."""
    root.put(f"/usr/lib/systemd/libsystemd-shared-{version}.so", "")
    root.put("x.service", GOOD.replace("=notify\n", "=notify-reload\n"))
    assert root.rules() == rules


@pytest.mark.parametrize(("version", "rules"), [(252, ["unknown-group"]), (254, [])])
def test_a_group_of_system_calls_must_be_known(root: Root, version: int, rules: list[str]):
    """It is ignored otherwise, and the filter forbids what it was to allow."""
    root.put(f"/usr/lib/systemd/libsystemd-shared-{version}.so", "")
    root.put("x.service", f"{GOOD}SystemCallFilter=@system-service @sandbox\n")
    assert root.rules() == rules


def test_paths_that_are_missing_on_this_system_are_found(root: Root):
    """226/NAMESPACE, and a unit that stays inactive without a failure."""
    extra = "ReadWritePaths=/srv/data\n[Unit]\nAssertPathExists=/etc/server.conf\n"
    root.put("x.service", GOOD + extra)
    assert root.rules() == ["missing-path", "asserts"]
    root.put("/srv/data/file", "")
    root.put("/etc/server.conf", "")
    assert root.rules() == []


def test_an_optional_file_that_is_missing_on_this_system_is_found(root: Root):
    """Traefik then serves without its certificates, and says so in one line of its log."""
    extra = "ProtectSystem=strict\nReadWritePaths=-/etc/traefik/acme.json\n"
    root.put("x.service", GOOD + extra)
    assert root.rules() == ["optional-file"]
    root.put("/etc/traefik/acme.json", "")
    assert root.rules() == []
    root.put("x.service", f"{GOOD}{extra}ReadWritePaths=/etc/traefik\n")
    (root.path / "etc/traefik/acme.json").unlink()
    assert root.rules() == [], "the service can create it"
    root.put("x.service", GOOD + extra.replace("strict", "no"))
    assert root.rules() == [], "it may write there anyway"


def test_psutil_in_the_target_s_environment_needs_more_of_proc(root: Root):
    """Nothing is said of Python programs without it: most miss nothing."""
    text = GOOD.replace("/usr/bin/server", "/srv/app/venv/bin/gunicorn app:app")
    root.put("x.service", f"{text}ProcSubset=pid\n")
    root.put("/srv/app/venv/pyvenv.cfg", "")
    root.put("/srv/app/venv/lib/python3.11/site-packages/flask/__init__.py", "")
    assert root.rules() == []
    root.put("/srv/app/venv/lib/python3.11/site-packages/psutil/__init__.py", "")
    assert root.rules() == ["proc-subset"]


def test_programs_are_followed_to_what_must_be_executable(root: Root):
    """notifywrap in a virtual environment: a symlink to a script whose interpreter is a symlink."""
    paths = "NoExecPaths=/ /dev/shm\nExecPaths=/usr/local/bin/notifywrap /usr/lib /usr/bin/server"
    root.put("x.service", f"{GOOD}{paths}\n")
    root.put("/usr/bin/python3.11", "")
    root.put("/opt/venv/bin/notifywrap", "#!/opt/venv/bin/python3\n")
    (root.path / "opt/venv/bin/python3").symlink_to("/usr/bin/python3")
    (root.path / "usr/bin/python3").symlink_to("python3.11")
    (root.path / "usr/local/bin").mkdir(parents=True)
    (root.path / "usr/local/bin/notifywrap").symlink_to("/opt/venv/bin/notifywrap")
    (found,) = root.check()
    assert found.rule == "exec-paths"
    assert "/opt/venv/bin/python3" in found.text
    root.put("x.service", f"{GOOD}{paths} /usr/bin/python3\n")
    assert root.check() == []


@pytest.mark.parametrize(
    "text", ["", "[Service]\n", "\0\n", "[", "=\n" * 9, "ExecStart=\\\n", "\ufeff"]
)
def test_whatever_a_file_holds_it_is_judged(root: Root, text: str):
    """Findings or none, but no traceback."""
    root.put("y.service", f"#\n{text}")
    assert all(found.line >= 1 for found in root.check("y.service"))
