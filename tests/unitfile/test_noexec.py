"""Where a dropped file runs in spite of NoExecPaths=/: what the rule says is what is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from notifywrap.unitfile.sandbox import writable_mounts
from notifywrap.unitfile.unit import parse_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Lab, Unit

pytestmark = pytest.mark.systemd

# Copies a program into each directory, runs it there, and says where that went well.
SCRIPT = """\
import os, shutil, sys
for place in sys.argv[1:]:
    path = f"{os.path.realpath(place)}/dropped-{os.getpid()}"
    try:
        shutil.copy("/usr/bin/true", path)
        os.chmod(path, 0o755)
        ended = os.waitpid(os.posix_spawn(path, [path], {}), 0)[1]
        print("runs:" if ended == 0 else "ended:", os.path.dirname(path), flush=True)
    except OSError as error:
        print("not:", place, error.strerror, flush=True)
    try:
        os.unlink(path)
    except OSError:
        pass
"""
MADE = "StateDirectory=n\nCacheDirectory=n\nLogsDirectory=n\nRuntimeDirectory=n\n"
SHAPES = {
    "plain": "User=daemon\n",
    "directories": f"User=daemon\n{MADE}",
    "strict": f"User=daemon\nProtectSystem=strict\nPrivateTmp=yes\n{MADE}ReadWritePaths=/srv/rw\n",
    "devices": "User=daemon\nPrivateDevices=yes\nReadWritePaths=-/srv/rw\n",
    "dynamic": f"DynamicUser=yes\n{MADE}",
}
PLACES = "/dev/shm /tmp /var/tmp /var/lib/n /var/cache/n /var/log/n /run/n /srv/rw"


@pytest.mark.parametrize("listed", [False, True], ids=["root-alone", "all-listed"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_rule_names_what_would_run_and_its_fix_stops_it(
    lab: Lab, unit: Callable[..., Unit], shape: str, listed: bool
):
    """An intruder drops a file: here it is tried where that ends."""
    place = lab.root / "srv/rw"
    place.mkdir(exist_ok=True)
    place.chmod(0o777)
    (lab.root / "opt/drop").write_text(SCRIPT)
    text = f"[Service]\nType=oneshot\n{SHAPES[shape]}"
    mounts = writable_mounts(parse_unit(text))
    more = " ".join(mounts) if listed else ""
    text += f"NoExecPaths=/ {more}\nExecPaths=/usr/bin/python3 /usr/lib\n"
    one = unit(f"{text}ExecStart=/usr/bin/python3 -IS /opt/drop {PLACES}\n")
    lines = one.journal().splitlines()
    runs = {line.split()[1] for line in lines if line.startswith("runs:")}
    assert sum(line.startswith(("runs:", "not:")) for line in lines) == len(PLACES.split())
    assert runs == (set() if listed else set(mounts)), lines
