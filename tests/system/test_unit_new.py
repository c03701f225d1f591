"""Units that `notifywrap unit` writes and installs: real daemons start in them and serve."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from daemons import CLIENT, http_get, program
from hosts import REPOSITORY

from tests.cli.every_option import VALUES, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Lab

pytestmark = [pytest.mark.systemd, pytest.mark.slow]

HOME = "opt/notifywrap-installed"
NOTIFYWRAP = "/usr/local/bin/notifywrap"
LAUNCHER = f"""\
#!/usr/bin/python3 -I
import sys
sys.path.insert(0, "/{HOME}")
from notifywrap.cli.__main__ import main
sys.exit(main())
"""
NGINX = """\
daemon off;
pid /tmp/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c;
    uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
    server { listen 127.0.0.1:8203; location / { return 200 "hello"; } }
}
"""


class Case(NamedTuple):
    """A daemon, what its unit is asked for, and what a client hears from it."""

    options: tuple[str, ...]
    command: tuple[str, ...]
    port: int
    request: str
    answer: str


CASES = {
    "redis-server": Case(
        ("--probe", "tcp:127.0.0.1:8201"),
        ("redis-server", "--port", "8201", "--dir", "."),
        8201,
        "PING\r\n",
        "PONG",
    ),
    "exec": Case(
        ("--probe", "exec:redis-cli -p 8205 ping", "--reload", "exec:true"),
        ("redis-server", "--port", "8205"),
        8205,
        "PING\r\n",
        "PONG",
    ),
    "jail": Case(
        ("--jail=default,bind=8206,read=/etc,write=${STATE_DIRECTORY}", "--credential", "tok"),
        ("redis-server", "--port", "8206", "--dir", "${STATE_DIRECTORY}"),
        8206,
        "PING\r\n",
        "PONG",
    ),
    "beside": Case(
        ("--main", "target", "--probe", "tcp:127.0.0.1:8207"),
        ("redis-server", "--port", "8207"),
        8207,
        "PING\r\n",
        "PONG",
    ),
    "run": Case(
        ("--probe", "unix:/run/new-run/sock"),
        ("redis-server", "--port", "8208", "--unixsocket", "/run/new-run/sock"),
        8208,
        "PING\r\n",
        "PONG",
    ),
    "prometheus": Case(
        ("--ready", "http://127.0.0.1:8202/-/ready", "--live", "http://127.0.0.1:8202/-/healthy"),
        (
            "prometheus",
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:8202",
        ),
        8202,
        http_get("/-/ready"),
        "Ready",
    ),
    "nginx": Case(
        ("--probe", "http://127.0.0.1:8203/"),
        ("nginx", "-c", "/opt/nginx-of-test.conf"),
        8203,
        http_get(),
        "hello",
    ),
}


@pytest.fixture(scope="module")
def installed(lab: Lab) -> Iterator[Lab]:
    """A lab with notifywrap where a machine has it."""
    home, launcher = lab.root / HOME, lab.root / NOTIFYWRAP[1:]
    ignored = shutil.ignore_patterns("__pycache__", "testing")
    shutil.copytree(REPOSITORY / "notifywrap", home / "notifywrap", ignore=ignored)
    launcher.write_text(LAUNCHER)
    (lab.root / "opt/nginx-of-test.conf").write_text(NGINX)
    for path in [home, *home.rglob("*"), launcher]:
        path.chmod(0o755)
    yield lab
    launcher.unlink()
    shutil.rmtree(home)


@pytest.fixture
def unit_file(installed: Lab) -> Iterator[Callable[[str], Path]]:
    """Paths of unit files; the units are stopped and gone after the test."""
    made: list[tuple[str, str]] = []

    def name(file: str, unit: str = "") -> Path:
        made.append((file, unit or file))
        return installed.root / "etc/systemd/system" / file

    yield name
    for file, unit in made:
        installed.systemctl("stop", unit)
        installed.systemctl("reset-failed", unit)
        (installed.root / "etc/systemd/system" / file).unlink(missing_ok=True)
    installed.systemctl("daemon-reload")


def serves(lab: Lab, case: Case) -> bool:
    """Does a client get its answer?"""
    words = (str(case.port), "0.2", "1", case.request, case.answer)
    done = lab.run("/usr/bin/python3", "-I", CLIENT, "load", *words)
    return done.returncode == 0 and '"answered": 0' not in done.stdout


def wait_for(lab: Lab, unit: str, started: str) -> None:
    """Until the main process is another than the one that began at *started*."""
    deadline = time.monotonic() + 30
    while True:
        seen = lab.show(unit, "ActiveState", "ExecMainStartTimestampMonotonic")
        is_new = seen["ExecMainStartTimestampMonotonic"] != started
        if seen["ActiveState"] == "active" and is_new:
            return
        assert time.monotonic() < deadline, lab.journal(unit)
        time.sleep(0.02)


@pytest.mark.parametrize("name", CASES)
def test_a_new_unit_passes_both_checks_and_its_daemon_serves(
    installed: Lab, unit_file: Callable[[str], Path], name: str
):
    """A hardened unit that does not start teaches people not to harden."""
    case = CASES[name]
    program(case.command[0])
    unit = f"new-{name}.service"
    unit_file(unit)
    file = f"/etc/systemd/system/{unit}"
    words = ("--name", f"new-{name}", "--output", file, *case.options, "--", *case.command)
    installed.run(NOTIFYWRAP, "unit", "new", *words, check=True)
    if "--credential" in case.options:
        secret = installed.root / f"etc/new-{name}/tok"
        secret.parent.mkdir(exist_ok=True)
        secret.write_text("a secret\n")
    installed.systemctl("daemon-reload", check=True)
    assert installed.run("systemd-analyze", "verify", file, check=True).stdout == ""
    for asked in (unit, file):
        assert installed.run(NOTIFYWRAP, "check", asked, check=True).stdout == ""
    done = installed.systemctl("start", unit)
    assert done.returncode == 0, installed.journal(unit)
    assert serves(installed, case), installed.journal(unit)
    shown = installed.show(unit, "ExecMainStartTimestampMonotonic", "UID")
    assert shown["UID"] not in ("0", "[not set]")
    if "ExecReload=" in (installed.root / file[1:]).read_text():
        done = installed.systemctl("reload", unit)
        assert done.returncode == 0, installed.journal(unit)
    installed.systemctl("kill", "--signal=KILL", "--kill-who=main", unit, check=True)
    wait_for(installed, unit, shown["ExecMainStartTimestampMonotonic"])
    assert serves(installed, case), installed.journal(unit)


def test_systemd_understands_the_unit_of_every_option(installed: Lab, tmp_path: Path):
    """`systemd-analyze verify` has no word to say about any of them."""
    settings = tmp_path / "notifywrap.toml"
    settings.write_text('probe = ["tcp:8080"]\n')
    files = []
    for option in VALUES:
        files.append(f"{tmp_path}/new{option}.service")
        words = written(option, str(settings) if option == "--config" else "")
        words = ["--output", files[-1], *words, "--", "true"]
        installed.run(NOTIFYWRAP, "unit", "new", *words, check=True)
    assert installed.run("systemd-analyze", "verify", *files, check=True).stdout == ""


def test_the_template_runs_what_its_settings_say(installed: Lab, unit_file: Callable[..., Path]):
    """A file of two lines is all that a service needs."""
    program("redis-server")
    unit = "notifywrap@cache.service"
    unit_file("notifywrap@.service", unit)
    done = installed.run(NOTIFYWRAP, "unit", "install", "notifywrap@", check=True)
    assert "systemctl enable --now notifywrap@NAME.service" in done.stdout
    settings = installed.root / "etc/notifywrap/cache.conf"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(
        'COMMAND=/usr/bin/redis-server --port 8204 --dir . --proc-title-template "a b"\n'
        "NOTIFYWRAP_PROBE=tcp:127.0.0.1:8204\n"
    )
    installed.systemctl("daemon-reload", check=True)
    done = installed.systemctl("start", unit)
    assert done.returncode == 0, installed.journal(unit)
    assert serves(installed, CASES["redis-server"]._replace(port=8204))
    assert "tcp:127.0.0.1:8204" in installed.show(unit, "StatusText")["StatusText"]
    assert installed.run(NOTIFYWRAP, "check", unit, check=True).stdout == ""
    settings.write_text("COMMAND=/usr/bin/redis-server\nNOTIFYWRAP_PROBE=tcp:nothing\n")
    found = installed.run(NOTIFYWRAP, "check", unit)
    assert found.returncode == 1
    assert "NOTIFYWRAP_PROBE: 'nothing' is not a port" in found.stdout
