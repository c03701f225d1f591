"""The pytest plugin: fixtures for tests of services. Loaded in every run where notifywrap is.

So it costs nothing until one of them is used: what they need is imported there.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifywrap.testing.managers import NotifyManager
    from notifywrap.testing.systemdlab import SystemdLab

__all__ = ["notify_manager", "systemd_lab", "systemd_lab_session"]

_BINDS = "systemd_lab_binds"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        _BINDS,
        "for the systemd_lab fixture: more paths that it shows, SRC[:DST][:rw] one per line, from "
        "the rootdir on; read-only unless it says rw",
        type="linelist",
        default=[],
    )


@pytest.fixture
def notify_manager(request: pytest.FixtureRequest) -> Iterator[NotifyManager]:
    """A stand-in for systemd, with its rules for Type=notify services.

    `manager = notify_manager([sys.executable, "-m", "mydaemon"], watchdog_s=1.0)` starts a command
    as a service. `manager = notify_manager(watchdog_s=1.0)` makes this process the service, for
    code that is called right here. Then: `manager.wait_ready(5)`, `wait_status(...)`, `status`,
    `pings`, `watchdog_gap`, `stop(5)`, ... All is ended after the test.
    """
    from notifywrap.testing.managers import NotifyManager
    from notifywrap.testing.report import telling

    with NotifyManager() as managers, telling(request.node, managers.tell):
        yield managers


@pytest.fixture
def systemd_lab(
    request: pytest.FixtureRequest, systemd_lab_session: SystemdLab
) -> Iterator[SystemdLab]:
    """A real systemd, booted once for all tests in namespaces of its own; it takes root.

    `lab.install("my.service")` installs a unit file of the project, `lab.install(name, text)` any
    other. Then: `lab.systemctl(...)`, `lab.wait(unit, ActiveState="active")`, `lab.journal(unit)`,
    ... What a test has installed is stopped and removed after it. Skips, with the reason, where no
    systemd can be booted. In the ini file `systemd_lab_binds` has more paths that it is to show.
    """
    from notifywrap.testing.report import telling

    lab = systemd_lab_session
    lab.begin()
    try:
        with telling(request.node, lab.tell):
            yield lab
    finally:
        lab.clean_up()


@pytest.fixture(scope="session")
def systemd_lab_session(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SystemdLab]:
    """What `systemd_lab` gives to each test, for fixtures of a wider scope.

    The lab shows the rootdir, the virtual environment and where notifywrap lies (it may be an
    editable install), and every test's tmp_path for writing.
    """
    import notifywrap
    from notifywrap.testing.lab import LabUnavailable
    from notifywrap.testing.systemdlab import SystemdLab

    home = pytestconfig.rootpath
    wanted = (str(home), sys.prefix, os.path.dirname(notifywrap.__path__[0]))
    shown = [path for path in wanted if path not in ("/", sys.base_prefix)]
    binds = [str(home / bind) for bind in pytestconfig.getini(_BINDS)]
    lab = SystemdLab(home, binds=[*shown, f"{tmp_path_factory.getbasetemp()}:rw", *binds])
    try:
        lab.up()
    except LabUnavailable as error:
        pytest.skip(f"no systemd can be booted here: {error}")
    yield lab
    lab.down()
